/**
 * Messages of this project beyond the y-websocket protocol, and the provider handlers for them.
 *
 * A server that does not support a message ignores it. A server of this project sends none before the tab's first query.
 */
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import type { WebsocketProvider } from "y-websocket";

/** Storage of saved updates: 1 in memory, 2 on disk, 0 before the server's first answer. */
export type StoreLevel = 0 | 1 | 2;

export const MESSAGE_SYNC = 0;
const MESSAGE_AWARENESS = 1;
const MESSAGE_AUTH = 2;
/** Query for an answer once everything up to here is saved, and that answer. */
const MESSAGE_SAVED = 102;
/** New token for the open socket. */
const MESSAGE_RENEWAL = 104;
/** Part of a frame, or the server's offer to accept such parts. */
export const MESSAGE_FRAGMENT = 105;

/** Bytes of a message of the server, also of one in fragments. */
export const MAX_RECEIVED_BYTES = 128 * 1024 * 1024;

/** Messages that do not wait behind a large update. */
export const URGENT_MESSAGES: readonly number[] = [MESSAGE_AWARENESS, MESSAGE_RENEWAL];

/** Parameter by which a client asks for large frames in fragments. */
export const FRAGMENTS_PARAMETER = { fragments: "1" };

const FRAGMENT_LIMITS = 0;
export const FRAGMENT_MORE = 1;
export const FRAGMENT_LAST = 2;

const SYNC_STEP1 = 0;
const PERMISSION_DENIED = 0;

/** Subprotocol that a server of this project selects when it accepts. */
export const SUBPROTOCOL = "streamlit-crdt";

/** Close codes with an effect in the tab. */
export const CLOSED_TOKEN_EXPIRED = 4302;
export const CLOSED_OTHER_EPOCH = 4409;
export const CLOSED_REWRITTEN = 4410;
export const CLOSED_ROOM_FULL = 4414;

/** Return the number of the session's operations that the rewritten room contains, from the reason of the close. */
export function keptOperations(reason: string): number {
  return Number(/it has ([0-9]{1,10}) operations/.exec(reason)?.[1] ?? 0);
}

/** "failing": the store fails at present. The server answers the same query again once it has recovered. */
export type SaveStatus = "saved" | "failing" | "rejected";

/** Index: number on the wire. An unknown number counts as "failing", so that the tab keeps waiting. */
const SAVE_STATUSES: readonly SaveStatus[] = ["saved", "failing", "rejected"];

export interface SavedAnswer {
  /** Version of the query that this answers. */
  readonly version: number;
  readonly level: StoreLevel;
  readonly status: SaveStatus;
  readonly epoch: string;
}

export interface MessageListener {
  /** The server sent sync step 1. The provider has written its answer and sends it after the current task. */
  readonly onSyncStep1: () => void;
  /** The server sent an update. The document has merged it. */
  readonly onUpdate: () => void;
  readonly onSaved: (answer: SavedAnswer) => void;
  /** The server takes no updates from this tab. The connection stays open. */
  readonly onDenied: () => void;
  /** The server of this connection accepts fragments of frames of at most `maxFrameBytes`. */
  readonly onFragmentLimits: (maxFrameBytes: number) => void;
}

export function encodeSavedQuery(version: number): Uint8Array {
  const content = encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, version);
  });
  return encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, MESSAGE_SAVED);
    encoding.writeVarUint8Array(encoder, content);
  });
}

export function encodeRenewal(token: string): Uint8Array {
  return encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, MESSAGE_RENEWAL);
    encoding.writeVarString(encoder, token);
  });
}

/** Add handlers for these messages to one provider. A provider has its own list of handlers. */
export function extendProvider(provider: WebsocketProvider, listener: MessageListener): void {
  const handlers = provider.messageHandlers;
  const handleSync = handlers[MESSAGE_SYNC];
  handlers[MESSAGE_SYNC] = (encoder, decoder, ...others) => {
    const isStep1 = decoding.peekVarUint(decoder) === SYNC_STEP1;
    handleSync?.(encoder, decoder, ...others);
    if (isStep1) {
      listener.onSyncStep1();
    } else {
      listener.onUpdate();
    }
  };
  handlers[MESSAGE_AWARENESS] = () => {
    // Presences of others are shown nowhere. The provider would keep them all, and send each back.
  };
  const fragments = new FragmentBuffer();
  handlers[MESSAGE_FRAGMENT] = (encoder, decoder, _provider, emitSynced) => {
    const kind = decoding.readVarUint(decoder);
    if (kind === FRAGMENT_LIMITS) {
      listener.onFragmentLimits(decoding.readVarUint(decoder));
      return;
    }
    const frame = fragments.add(decoding.readTailAsUint8Array(decoder), kind === FRAGMENT_LAST, provider.ws);
    if (frame === "too large") {
      provider.ws?.close();
    } else if (frame !== null) {
      const whole = decoding.createDecoder(frame);
      const type = decoding.readVarUint(whole);
      if (type !== MESSAGE_FRAGMENT) {
        handlers[type]?.(encoder, whole, provider, emitSynced, type);
      }
    }
  };
  handlers[MESSAGE_AUTH] = (_encoder, decoder) => {
    if (readDenial(decoder)) {
      listener.onDenied();
    }
  };
  handlers[MESSAGE_SAVED] = (_encoder, decoder) => {
    const answer = readSavedAnswer(decoder);
    if (answer !== null) {
      listener.onSaved(answer);
    }
  };
}

/** Fragments of one frame that have arrived over one socket. */
class FragmentBuffer {
  private parts: Uint8Array[] = [];
  private byteCount = 0;
  private socket: WebSocket | null = null;

  /** Return the frame that the last fragment completes, else null. */
  add(part: Uint8Array, isLast: boolean, socket: WebSocket | null): Uint8Array | "too large" | null {
    if (socket !== this.socket) {
      this.socket = socket;
      this.drop();
    }
    this.parts.push(part);
    this.byteCount += part.length;
    if (this.byteCount > MAX_RECEIVED_BYTES) {
      this.drop();
      return "too large";
    }
    if (!isLast) {
      return null;
    }
    const frame = concatenate(this.parts);
    this.drop();
    return frame;
  }

  private drop(): void {
    this.parts = [];
    this.byteCount = 0;
  }
}

export function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  return encoding.encode((encoder) => {
    for (const part of parts) {
      encoding.writeUint8Array(encoder, part);
    }
  });
}

/** Read an answer behind its message type. Returns null if it is malformed. An unknown level counts as memory. */
function readSavedAnswer(decoder: decoding.Decoder): SavedAnswer | null {
  try {
    const content = decoding.createDecoder(decoding.readVarUint8Array(decoder));
    const version = decoding.readVarUint(content);
    const level = decoding.readVarUint(content) === 2 ? 2 : 1;
    const status = SAVE_STATUSES[decoding.readVarUint(content)] ?? "failing";
    return { version, level, status, epoch: decoding.readVarString(content) };
  } catch {
    return null;
  }
}

/** Read an auth message behind its type, and return whether it denies permission. */
function readDenial(decoder: decoding.Decoder): boolean {
  return decoding.hasContent(decoder) && decoding.readVarUint(decoder) === PERMISSION_DENIED;
}
