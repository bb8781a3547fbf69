/**
 * A WebSocket that cuts large messages and sends them at the pace of the network.
 *
 * Servers and proxies close a connection at large messages. An update is cut into valid updates; a single value above the
 * limit is sent in fragments if the server offers that. The browser buffers everything that it is given, so the parts are
 * passed to it one after the other: presences and tokens do not wait behind a large update.
 */
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";

import type { Clock } from "../clock";
import { cutUpdate } from "../document/update-pieces";
import {
  FRAGMENT_LAST,
  FRAGMENT_MORE,
  MAX_RECEIVED_BYTES,
  MESSAGE_FRAGMENT,
  MESSAGE_SYNC,
  URGENT_MESSAGES,
} from "./protocol";

/** Bytes of a message. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
/** Bytes that the browser may have buffered when it gets the next part. */
const MAX_BUFFERED_BYTES = 512 * 1024;
/** Interval at which the buffer is checked. */
const CHECK_MS = 20;
/** Smallest limit of a server's frames that the queue follows. Below it, an update would leave in a message per byte. */
const MIN_MESSAGE_BYTES = 1024;
/** Bytes that the browser may have buffered when a message arrives. A server that requests without reading exceeds it. */
const MAX_UNREAD_BYTES = 16 * 1024 * 1024;
/** Bytes that may wait when the server requests the document once more: twice the largest room. */
const MAX_WAITING_BYTES = 128 * 1024 * 1024;
/** Bytes of a fragment besides its part of the frame. */
const FRAGMENT_HEAD_BYTES = 2;

const SYNC_STEP1 = 0;
const SYNC_UPDATE = 2;

/** The part of a WebSocket that the queue uses. */
export interface Transmitter {
  readonly bufferedAmount: number;
  readonly isOpen: boolean;
  transmit(message: Uint8Array): void;
}

/** Messages of one connection that wait for the network. */
export class MessageQueue {
  private readonly waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private maxBytes = MAX_MESSAGE_BYTES;
  private takesFragments = false;
  private isScheduled = false;

  constructor(
    private readonly transmitter: Transmitter,
    private readonly clock: Clock,
  ) {}

  /** Return whether the server sends `message` without reading the answers to its earlier messages. */
  isUnreadAt(message: Uint8Array): boolean {
    const isSyncStep1 = message[0] === MESSAGE_SYNC && message[1] === SYNC_STEP1;
    return (
      this.transmitter.bufferedAmount > MAX_UNREAD_BYTES ||
      (isSyncStep1 && this.waitingBytes > MAX_WAITING_BYTES)
    );
  }

  /** The server accepts fragments of frames of at most `maxFrameBytes`. */
  acceptFragments(maxFrameBytes: number): void {
    if (maxFrameBytes < MIN_MESSAGE_BYTES) {
      return;
    }
    this.takesFragments = true;
    this.maxBytes = Math.min(MAX_MESSAGE_BYTES, maxFrameBytes);
  }

  send(message: Uint8Array): void {
    const isFree = this.waiting.length === 0 && this.transmitter.bufferedAmount <= MAX_BUFFERED_BYTES;
    const isDirect = isFree || URGENT_MESSAGES.includes(message[0] ?? -1);
    if (isDirect && message.length <= this.maxBytes) {
      this.transmitter.transmit(message);
      return;
    }
    for (const frame of cutMessage(message, this.maxBytes)) {
      for (const part of this.takesFragments ? fragments(frame, this.maxBytes) : [frame]) {
        this.waiting.push(part);
        this.waitingBytes += part.length;
      }
    }
    this.pump();
  }

  private pump(): void {
    while (this.transmitter.isOpen && this.transmitter.bufferedAmount <= MAX_BUFFERED_BYTES) {
      const next = this.waiting.shift();
      if (next === undefined) {
        return;
      }
      this.waitingBytes -= next.length;
      this.transmitter.transmit(next);
    }
    if (!this.transmitter.isOpen) {
      this.waiting.length = 0;
      this.waitingBytes = 0;
    } else if (!this.isScheduled) {
      this.isScheduled = true;
      this.clock.after(CHECK_MS, () => {
        this.isScheduled = false;
        this.pump();
      });
    }
  }
}

/**
 * Return a subclass of `implementation` whose instances send through a `MessageQueue`.
 *
 * A message that no server of the protocol sends closes the connection. One that cannot be decoded is logged and ignored: the
 * provider decodes it in the event handler, where an exception has no other receiver.
 */
export function pacedSocket(implementation: typeof WebSocket, clock: Clock): typeof WebSocket {
  return class extends implementation implements Transmitter {
    readonly queue = new MessageQueue(this, clock);

    get isOpen(): boolean {
      return this.readyState === implementation.OPEN;
    }

    transmit(message: Uint8Array): void {
      super.send(message);
    }

    override set onmessage(listener: typeof WebSocket.prototype.onmessage) {
      super.onmessage =
        listener === null
          ? null
          : (event: MessageEvent<unknown>) => {
              this.receive(event, listener);
            };
    }

    private receive(event: MessageEvent<unknown>, listener: (event: MessageEvent) => unknown): void {
      const { data } = event;
      if (!this.isOpen) {
        return; // closed after an earlier message
      }
      if (
        !isAcceptable(data) ||
        this.queue.isUnreadAt(new Uint8Array(data, 0, Math.min(2, data.byteLength)))
      ) {
        this.close();
        return;
      }
      try {
        listener.call(this, event);
      } catch (error) {
        console.warn("streamlit-crdt: a message of the room server was ignored:", error);
      }
    }

    override send(message: string | ArrayBufferLike | Blob | ArrayBufferView): void {
      this.queue.send(message as Uint8Array);
    }
  };
}

/** A text would be read as a number of bytes. */
function isAcceptable(data: unknown): data is ArrayBuffer {
  return typeof data === "object" && data !== null && (data as ArrayBuffer).byteLength <= MAX_RECEIVED_BYTES;
}

/** Return the queue of a socket that `pacedSocket` made. */
export function queueOf(socket: WebSocket): MessageQueue | null {
  return (socket as WebSocket & { queue?: MessageQueue }).queue ?? null;
}

/** Cut a sync message with a large update. The last part has the type of the message. */
function cutMessage(message: Uint8Array, maxBytes: number): Uint8Array[] {
  const decoder = decoding.createDecoder(message);
  if (message.length <= maxBytes || decoding.readVarUint(decoder) !== MESSAGE_SYNC) {
    return [message];
  }
  const type = decoding.readVarUint(decoder);
  if (type === SYNC_STEP1) {
    return [message];
  }
  const pieces = cutUpdate(decoding.readVarUint8Array(decoder), maxBytes);
  return pieces.map((piece, index) =>
    encoding.encode((encoder) => {
      encoding.writeVarUint(encoder, MESSAGE_SYNC);
      encoding.writeVarUint(encoder, index === pieces.length - 1 ? type : SYNC_UPDATE);
      encoding.writeVarUint8Array(encoder, piece);
    }),
  );
}

function fragments(frame: Uint8Array, maxBytes: number): Uint8Array[] {
  if (frame.length <= maxBytes) {
    return [frame];
  }
  const step = Math.max(1, maxBytes - FRAGMENT_HEAD_BYTES);
  const parts: Uint8Array[] = [];
  for (let start = 0; start < frame.length; start += step) {
    const kind = start + step < frame.length ? FRAGMENT_MORE : FRAGMENT_LAST;
    parts.push(
      encoding.encode((encoder) => {
        encoding.writeVarUint(encoder, MESSAGE_FRAGMENT);
        encoding.writeVarUint(encoder, kind);
        encoding.writeUint8Array(encoder, frame.subarray(start, start + step));
      }),
    );
  }
  return parts;
}
