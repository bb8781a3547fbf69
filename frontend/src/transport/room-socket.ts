/**
 * The tab's socket to the room server: the y-websocket provider at the location that the session states.
 *
 * The provider reconnects without limit, with its own back-off, and stops at close codes 4400 to 4499, by which a server
 * rules out a reconnect. BroadcastChannel stays off: it would pass edits between tabs around the server, its roles and its
 * acknowledgements.
 */
import { createEncoder, toUint8Array, writeVarUint } from "lib0/encoding";
import { Awareness } from "y-protocols/awareness";
import { writeSyncStep1, writeUpdate } from "y-protocols/sync";
import { WebsocketProvider } from "y-websocket";

import { browserClock } from "../clock";
import type { Clock } from "../clock";
import type { Replica } from "../document/replica";
import type { Role, SocketLocation, Status, TabError } from "./frame";
import { GapTimer } from "./gap-timer";
import { pacedSocket, queueOf } from "./paced-socket";
import {
  CLOSED_OTHER_EPOCH,
  CLOSED_REWRITTEN,
  CLOSED_ROOM_FULL,
  CLOSED_TOKEN_EXPIRED,
  encodeRenewal,
  encodeSavedQuery,
  extendProvider,
  FRAGMENTS_PARAMETER,
  keptOperations,
  MESSAGE_SYNC,
  SUBPROTOCOL,
} from "./protocol";
import type { SavedAnswer } from "./protocol";
import type { SendQuery } from "./unsaved-edits";

/** Parts of the page's address that complete a socket location. */
export type PageAddress = Pick<Location, "protocol" | "hostname" | "host">;

/** Events of one connection that concern access and unsaved edits. */
export interface ConnectionListener {
  /** The tab's answer to sync step 1 is sent after the current task. `send` sends a query behind it. */
  onOpen(send: SendQuery): void;
  /** `wasRejected`: the server did not accept the tab, or its token expired. The provider tries again in either case. */
  onClose(wasRejected: boolean): void;
  onSaved(answer: SavedAnswer): void;
  /** The room was deleted, and another epoch has begun. The document of this tab cannot join it. */
  onEpochEnded(): void;
  /** The room was rewritten, with `kept` operations of the session. The document of this tab cannot join it. */
  onRewritten(kept: number): void;
  /** The room rejected an edit of this tab because it is too large. The provider does not try again. */
  onRoomFull(): void;
}

export interface SocketListener {
  /** `isSynced`: the document has been in sync with this server at least once. */
  onStatus(status: Status, isSynced: boolean): void;
  /** A connection begins or ends to bring what the document lacks. Until it ends, the document is incomplete. */
  onSyncing(isSyncing: boolean): void;
  onSocketError(error: TabError, url: string): void;
  /** The server takes no updates from this tab. */
  onDenied(): void;
}

/** Credentials of the tab. */
export interface Access {
  readonly token: string | null;
  readonly epoch: string | null;
  readonly role: Role;
}

/** Return the socket's URL, room included, completed from the page's address. */
export function socketUrl(location: SocketLocation, page: PageAddress): string {
  switch (location.kind) {
    case "url":
      return location.url;
    case "port":
      return `ws://${page.hostname}:${location.port}${location.path}`;
    case "path":
      return `${page.protocol === "https:" ? "wss" : "ws"}://${page.host}${location.path}`;
  }
}

/** Return whether browsers block the URL. They block a ws: socket from an https: page, except to the loopback. */
export function isMixedContent(url: string, page: PageAddress): boolean {
  return page.protocol === "https:" && url.startsWith("ws://") && !isLoopback(new URL(url).hostname);
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** Bytes of updates that wait for missing ones. Each further one takes time in proportion to these. */
const MAX_PENDING_BYTES = 4 * 1024 * 1024;

export class RoomSocket {
  private readonly awareness: Awareness;
  private readonly implementation: typeof WebSocket;
  private readonly gaps: GapTimer;
  private provider: WebsocketProvider | null = null;
  private url: string | null | undefined;
  private isSynced = false;
  private isOpen = false;
  private isDenied = false;
  private isStopped = false;
  private access: Access = { token: null, epoch: null, role: "editor" };
  /** Role of the token in `access`. A frame may state a new role before it contains the new token. */
  private tokenRole: Role = "editor";

  constructor(
    private readonly replica: Replica,
    private readonly connection: ConnectionListener,
    private readonly listener: SocketListener,
    private readonly page: PageAddress,
    implementation: typeof WebSocket = WebSocket,
    clock: Clock = browserClock,
  ) {
    this.implementation = pacedSocket(implementation, clock);
    this.gaps = new GapTimer(clock, this.requestMissing);
    this.awareness = new Awareness(replica.doc);
    // y-protocols sends the empty state again every 15 s, as keepalive for the server.
    this.awareness.setLocalState({});
  }

  /** Use `access` at each connect. A new token is also sent over the open socket. */
  setAccess({ token, epoch, role }: Access): void {
    const isNewToken = token !== this.access.token;
    const formerRole = this.tokenRole;
    this.access = { token, epoch, role };
    if (isNewToken) {
      this.tokenRole = role;
    }
    const provider = this.provider;
    if (provider !== null) {
      this.configure(provider);
      if (isNewToken && this.isOpen) {
        this.renew(provider, role !== formerRole);
      }
    }
  }

  /** Close for good: the document belongs to an epoch that has ended. */
  stop(): void {
    this.close();
    this.url = null;
    this.isStopped = true;
    this.listener.onStatus("offline", this.isSynced);
  }

  /** Connect to `location`; null closes the socket. The current location changes nothing. */
  connectTo(location: SocketLocation | null): void {
    const url = location === null ? null : socketUrl(location, this.page);
    if (url === this.url || this.isStopped) {
      return;
    }
    this.close();
    this.url = url;
    this.isSynced = false;
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
    this.configure(provider);
    this.replica.doc.on("update", this.relayPending);
    this.replica.doc.on("afterTransaction", this.noteGap);
    this.listener.onStatus("connecting", false);
    this.subscribe(provider, url);
    this.extend(provider);
    try {
      provider.connect();
    } catch {
      // `new WebSocket` throws for addresses that only the browser rejects.
      this.close();
      this.fail("refused", url);
    }
  }

  /** Set what the provider reads at each connect. */
  private configure(provider: WebsocketProvider): void {
    const { token, epoch } = this.access;
    provider.protocols = token === null ? [] : [SUBPROTOCOL, `token.${token}`];
    const [replica] = this.replica.own;
    provider.params = {
      ...FRAGMENTS_PARAMETER,
      ...(epoch === null ? {} : { epoch }),
      ...(replica === undefined ? {} : { replica: String(replica) }),
    };
  }

  /**
   * Present a new token on the open socket. With another role, or after a denial, only a new connection sends the rejected
   * edits again. A socket that is not open gets the token with the provider's next attempt.
   */
  private renew(provider: WebsocketProvider, hasNewRole: boolean): void {
    const { token, role } = this.access;
    if (hasNewRole || (this.isDenied && role === "editor")) {
      provider.disconnect();
      provider.connect();
    } else if (token !== null) {
      this.send(provider, encodeRenewal(token));
    }
  }

  private subscribe(provider: WebsocketProvider, url: string): void {
    provider.on("status", ({ status }) => {
      // The provider alternates "connecting" and "disconnected" at each retry. The session gets "offline" for both.
      if (status === "connected") {
        this.isOpen = true;
        this.noteGap();
        this.listener.onSyncing(true);
        this.listener.onStatus("connected", this.isSynced);
      }
    });
    provider.on("connection-close", (event) => {
      if (provider !== this.provider) {
        return;
      }
      const wasRejected = !this.isOpen || event?.code === CLOSED_TOKEN_EXPIRED;
      this.isOpen = false;
      this.isDenied = false;
      this.noteGap();
      this.connection.onClose(wasRejected);
      this.listener.onSyncing(false);
      this.listener.onStatus("offline", this.isSynced);
    });
    provider.on("sync", (isSynced) => {
      if (isSynced) {
        this.isSynced = true;
        this.listener.onSyncing(false);
        this.listener.onStatus("connected", true);
      }
    });
    provider.on("closed", ({ code, reason }) => {
      if (code === CLOSED_OTHER_EPOCH) {
        this.connection.onEpochEnded();
        return;
      }
      if (code === CLOSED_REWRITTEN) {
        this.connection.onRewritten(keptOperations(reason));
        return;
      }
      if (code === CLOSED_ROOM_FULL) {
        this.connection.onRoomFull();
      }
      this.fail("refused", url);
    });
  }

  private extend(provider: WebsocketProvider): void {
    extendProvider(provider, {
      onSyncStep1: () => {
        this.connection.onOpen((version) => {
          this.send(provider, encodeSavedQuery(version));
        });
      },
      onUpdate: () => {
        if (this.replica.dropPending(MAX_PENDING_BYTES)) {
          provider.ws?.close(); // the next connection brings what is missing, and what was dropped
        }
      },
      onFragmentLimits: (maxFrameBytes) => {
        if (provider.ws !== null) {
          queueOf(provider.ws)?.acceptFragments(maxFrameBytes);
        }
      },
      onDenied: () => {
        this.isDenied = true;
        this.listener.onDenied();
      },
      onSaved: (answer) => {
        this.isDenied ||= answer.status === "rejected";
        this.connection.onSaved(answer);
      },
    });
  }

  private send(provider: WebsocketProvider, message: Uint8Array): void {
    if (provider === this.provider && provider.wsconnected) {
      provider.ws?.send(message);
    }
  }

  /** Send pending structs that an update from the socket completed. The provider sends nothing that it applied itself. */
  private readonly relayPending = (update: Uint8Array, origin: unknown): void => {
    const provider = this.provider;
    if (provider !== null && origin === provider && this.replica.includesPending && provider.wsconnected) {
      const encoder = createEncoder();
      writeVarUint(encoder, MESSAGE_SYNC);
      writeUpdate(encoder, update);
      provider.ws?.send(toUint8Array(encoder));
    }
  };

  private readonly noteGap = (): void => {
    this.gaps.note(this.isOpen ? this.replica.gap : null); // a connection begins with a request
  };

  private readonly requestMissing = (): void => {
    const { provider } = this;
    if (provider !== null) {
      const encoder = createEncoder();
      writeVarUint(encoder, MESSAGE_SYNC);
      writeSyncStep1(encoder, this.replica.doc);
      this.send(provider, toUint8Array(encoder));
    }
  };

  private fail(error: TabError, url: string): void {
    this.listener.onStatus("offline", this.isSynced);
    this.listener.onSocketError(error, url);
  }

  private close(): void {
    const provider = this.provider;
    this.provider = null;
    this.replica.doc.off("update", this.relayPending);
    this.replica.doc.off("afterTransaction", this.noteGap);
    provider?.destroy();
    if (this.isOpen) {
      this.isOpen = false;
      this.noteGap();
      this.listener.onSyncing(false);
      this.connection.onClose(false);
    }
  }
}
