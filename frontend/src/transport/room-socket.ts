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

import type { Replica } from "../document/replica";
import type { Role, SocketPlace, Status, TabError } from "./frame";
import {
  CLOSED_OTHER_EPOCH,
  CLOSED_ROOM_FULL,
  CLOSED_TOKEN_EXPIRED,
  encodeSavedRequest,
  encodeToken,
  extendProvider,
  MESSAGE_SYNC,
  SUBPROTOCOL,
} from "./protocol";
import type { SavedAnswer } from "./protocol";

/** What of the page's address decides where a socket may lead. */
export type PageAddress = Pick<Location, "protocol" | "hostname" | "host">;

export interface SocketListener {
  /** `synced`: the document has been in sync with this server at least once. */
  readonly onStatus: (status: Status, synced: boolean) => void;
  readonly onError: (error: TabError, url: string) => void;
  /** When this task is over the server has been sent all that it lacked; `ask` asks what of it is saved. */
  readonly onOpen: (ask: (version: number) => void) => void;
  /** `wasRefused`: the server did not let the tab in, or the token's time is over. Tried again in any case. */
  readonly onClose: (wasRefused: boolean) => void;
  readonly onSaved: (answer: SavedAnswer) => void;
  readonly onDenied: () => void;
  /** The room was deleted and begun anew; there is no way back for this document. */
  readonly onEnded: () => void;
  /** The room took no edit of this tab, because it is too large. Not tried again. */
  readonly onFull: () => void;
}

/** What lets a tab in. */
export interface Access {
  readonly token: string | null;
  readonly epoch: string | null;
  readonly role: Role;
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
  private isOpen = false;
  private isDenied = false;
  private hasEnded = false;
  private access: Access = { token: null, epoch: null, role: "editor" };
  /** What the token in `access` makes of the tab; a frame may tell the role before it brings the token. */
  private tokenRole: Role = "editor";

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

  /** Use `access` from now on: at each connect, and a new token on the open socket too. */
  admit(access: Access): void {
    const { token, epoch, role } = access;
    const isNewToken = token !== this.access.token;
    const hadRole = this.tokenRole;
    this.access = { token, epoch, role };
    if (isNewToken) {
      this.tokenRole = role;
    }
    const provider = this.provider;
    if (provider !== null) {
      this.present(provider);
      if (isNewToken && this.isOpen) {
        this.renew(provider, role !== hadRole);
      }
    }
  }

  /** The document is of a room that is no more. */
  end(): void {
    this.close();
    this.url = null;
    this.hasEnded = true;
    this.listener.onStatus("offline", this.synced);
  }

  /** Connect to `place`; null is "no socket". The place it already leads to changes nothing. */
  aim(place: SocketPlace | null): void {
    const url = place === null ? null : socketUrl(place, this.page);
    if (url === this.url || this.hasEnded) {
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
    this.present(provider);
    this.replica.doc.on("update", this.passOnUnlocked);
    this.listener.onStatus("connecting", false);
    this.listen(provider, url);
    this.extend(provider);
    try {
      provider.connect();
    } catch {
      // The browser's own rules for addresses are stricter than ours, and it says so by throwing.
      this.close();
      this.fail("refused", url);
    }
  }

  /** The provider reads both again at each connect. */
  private present(provider: WebsocketProvider): void {
    const { token, epoch } = this.access;
    provider.protocols = token === null ? [] : [SUBPROTOCOL, `token.${token}`];
    provider.params = epoch === null ? {} : { epoch };
  }

  /**
   * A tab that was denied writing may be allowed now: only a new connection offers again what was refused. One that is
   * not open is left to its back-off: the next attempt brings the new token.
   */
  private renew(provider: WebsocketProvider, hasOtherRole: boolean): void {
    const { token, role } = this.access;
    if (hasOtherRole || (this.isDenied && role === "editor")) {
      provider.disconnect();
      provider.connect();
    } else if (token !== null) {
      this.send(provider, encodeToken(token));
    }
  }

  private listen(provider: WebsocketProvider, url: string): void {
    provider.on("status", ({ status }) => {
      // "connecting" and "disconnected" alternate at each retry: to the session all of that is "offline".
      if (status === "connected") {
        this.isOpen = true;
        this.listener.onStatus("connected", this.synced);
      }
    });
    provider.on("connection-close", (event) => {
      if (provider !== this.provider) {
        return;
      }
      const wasRefused = !this.isOpen || event?.code === CLOSED_TOKEN_EXPIRED;
      this.isOpen = false;
      this.isDenied = false;
      this.listener.onClose(wasRefused);
      this.listener.onStatus("offline", this.synced);
    });
    provider.on("sync", (isSynced) => {
      if (isSynced) {
        this.synced = true;
        this.listener.onStatus("connected", true);
      }
    });
    provider.on("closed", ({ code }) => {
      if (code === CLOSED_OTHER_EPOCH) {
        this.listener.onEnded();
        return;
      }
      if (code === CLOSED_ROOM_FULL) {
        this.listener.onFull();
      }
      this.fail("refused", url);
    });
  }

  private extend(provider: WebsocketProvider): void {
    extendProvider(provider, {
      onQuestion: () => {
        this.listener.onOpen((version) => {
          this.send(provider, encodeSavedRequest(version));
        });
      },
      onDenied: () => {
        this.isDenied = true;
        this.listener.onDenied();
      },
      onSaved: (answer) => {
        this.isDenied ||= answer.outcome === "refused";
        this.listener.onSaved(answer);
      },
    });
  }

  private send(provider: WebsocketProvider, message: Uint8Array): void {
    if (provider === this.provider && provider.wsconnected) {
      provider.ws?.send(message);
    }
  }

  /** The provider takes what it applied itself for something the server knows; see `Replica.includesPending`. */
  private readonly passOnUnlocked = (update: Uint8Array, origin: unknown): void => {
    const provider = this.provider;
    if (provider !== null && origin === provider && this.replica.includesPending && provider.wsconnected) {
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
    if (this.isOpen) {
      this.isOpen = false;
      this.listener.onClose(false);
    }
  }
}
