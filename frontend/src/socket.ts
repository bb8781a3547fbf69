/**
 * The tab's socket to the room server: y-websocket's provider, aimed where the session says.
 *
 * The provider reconnects for ever with its own back-off, and stops at close codes 4400-4499, by which a server says that
 * coming back is pointless. BroadcastChannel stays off: it would move edits between tabs past the server, its roles and
 * its acknowledgements.
 */
import { createEncoder, toUint8Array, writeVarUint } from "lib0/encoding";
import { Awareness } from "y-protocols/awareness";
import { writeUpdate } from "y-protocols/sync";
import { WebsocketProvider } from "y-websocket";

import type { SocketPlace, Status, TabError } from "./protocol";
import type { Replica } from "./replica";

/** First varuint of a y-websocket message that holds a sync message. */
const MESSAGE_SYNC = 0;

/** What of the page's address decides where a socket may lead. */
export type PageAddress = Pick<Location, "protocol" | "hostname" | "host">;

export interface SocketListener {
  /** `synced`: the document has been in sync with this server at least once. */
  readonly onStatus: (status: Status, synced: boolean) => void;
  readonly onError: (error: TabError, url: string) => void;
}

/** The socket's address, room included, completed by what only the page knows. */
export function socketUrl(place: SocketPlace, page: PageAddress): string {
  switch (place.kind) {
    case "url":
      return place.url;
    case "port":
      return `ws://${page.hostname}:${place.port}${place.path}`;
    case "path":
      return `${page.protocol === "https:" ? "wss" : "ws"}://${page.host}${place.path}`;
  }
}

/** Browsers refuse a plain socket from an https page, unless it stays on the machine. */
export function isMixedContent(url: string, page: PageAddress): boolean {
  return page.protocol === "https:" && url.startsWith("ws://") && !isLoopback(new URL(url).hostname);
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

export class RoomSocket {
  private readonly awareness: Awareness;
  private provider: WebsocketProvider | null = null;
  private url: string | null | undefined;
  private synced = false;

  constructor(
    private readonly replica: Replica,
    private readonly listener: SocketListener,
    private readonly page: PageAddress,
    private readonly implementation: typeof WebSocket = WebSocket,
  ) {
    this.awareness = new Awareness(replica.doc);
    // Empty, and renewed by y-protocols every 15 s: it tells the server that this tab is alive.
    this.awareness.setLocalState({});
  }

  /** Connect to `place`; null is "no socket". The place it already leads to changes nothing. */
  aim(place: SocketPlace | null): void {
    const url = place === null ? null : socketUrl(place, this.page);
    if (url === this.url) {
      return;
    }
    this.close();
    this.url = url;
    this.synced = false;
    if (url === null) {
      this.listener.onStatus("offline", false);
    } else if (isMixedContent(url, this.page)) {
      this.fail("mixed-content", url);
    } else {
      this.connect(url);
    }
  }

  destroy(): void {
    this.close();
    this.awareness.destroy();
  }

  private connect(url: string): void {
    const slash = url.lastIndexOf("/");
    const provider = new WebsocketProvider(url.slice(0, slash), url.slice(slash + 1), this.replica.doc, {
      awareness: this.awareness,
      connect: false,
      disableBc: true,
      WebSocketPolyfill: this.implementation,
    });
    this.provider = provider;
    this.replica.doc.on("update", this.passOnUnlocked);
    this.listener.onStatus("connecting", false);
    this.listen(provider, url);
    try {
      provider.connect();
    } catch {
      // The browser's own rules for addresses are stricter than ours, and it says so by throwing.
      this.close();
      this.fail("refused", url);
    }
  }

  private listen(provider: WebsocketProvider, url: string): void {
    provider.on("status", ({ status }) => {
      // "connecting" and "disconnected" alternate at each retry: to the session all of that is "offline".
      if (status === "connected") {
        this.listener.onStatus("connected", this.synced);
      }
    });
    provider.on("connection-close", () => {
      this.listener.onStatus("offline", this.synced);
    });
    provider.on("sync", (isSynced) => {
      if (isSynced) {
        this.synced = true;
        this.listener.onStatus("connected", true);
      }
    });
    provider.on("closed", () => {
      this.fail("refused", url);
    });
  }

  /** The provider takes what it applied itself for something the server knows; see `Replica.unlockedPending`. */
  private readonly passOnUnlocked = (update: Uint8Array, origin: unknown): void => {
    const provider = this.provider;
    if (provider !== null && origin === provider && this.replica.unlockedPending && provider.wsconnected) {
      const encoder = createEncoder();
      writeVarUint(encoder, MESSAGE_SYNC);
      writeUpdate(encoder, update);
      provider.ws?.send(toUint8Array(encoder));
    }
  };

  private fail(error: TabError, url: string): void {
    this.listener.onStatus("offline", this.synced);
    this.listener.onError(error, url);
  }

  private close(): void {
    const provider = this.provider;
    this.provider = null;
    this.replica.doc.off("update", this.passOnUnlocked);
    provider?.destroy();
  }
}
