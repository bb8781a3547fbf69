/**
 * Transfer of a large update over the channel in parts. One part is in flight; the receiver reports the bytes it has.
 *
 * Streamlit closes a connection at a message above `server.maxWidgetStateSize`. A part that is lost or repeated changes
 * nothing: it counts only at the position that the receiver has reached. A receiver that restarted reports no bytes, and the
 * transfer begins again. The update counts as received when it is complete.
 */
import { FrameError } from "../errors";
import { concatenate } from "./protocol";

/** First byte of a part in its update, and bytes of the update. */
export type PartRange = readonly [start: number, total: number];
/** Version of the frame whose update is incomplete, and the bytes that have arrived. */
export type Progress = readonly [v: number, bytes: number];

/** Bytes of an update that is sent in parts. A larger one is rejected. */
const MAX_TOTAL_BYTES = 256 * 1024 * 1024;

/** Header fields that identify a transfer. */
interface Versions {
  readonly id: number;
  readonly v: number;
  readonly since: number;
}

export class OutgoingTransfer {
  private received = 0;

  constructor(
    readonly since: number,
    readonly v: number,
    /** State vector of the sender at `v`. */
    readonly stateVector: Uint8Array,
    private readonly update: Uint8Array,
  ) {}

  /** Return the next part. */
  next(maxBytes: number): { readonly part: PartRange; readonly update: Uint8Array } {
    const { received, update } = this;
    return {
      part: [received, update.length],
      update: update.subarray(received, received + maxBytes),
    };
  }

  /** Process the receiver's report. Returns whether the receiver has got more since the last one. */
  report(progress: Progress | null): boolean {
    const [v, bytes] = progress ?? [this.v, 0];
    const before = this.received;
    this.received = v === this.v ? Math.min(bytes, this.update.length) : 0;
    return this.received > before;
  }
}

export class IncomingTransfer {
  private versions: Versions | null = null;
  private parts: Uint8Array[] = [];
  private byteCount = 0;
  private total = 0;

  /** Return the progress of an incomplete update of `sender`, null if there is none. */
  progressOf(sender: number): Progress | null {
    return this.versions?.id === sender ? [this.versions.v, this.byteCount] : null;
  }

  /** Add a part. Returns the whole update once it is complete, else null. */
  add(header: Versions, [start, total]: PartRange, part: Uint8Array): Uint8Array | null {
    if (total > MAX_TOTAL_BYTES || start + part.length > total) {
      throw new FrameError("part", `a part of at most ${MAX_TOTAL_BYTES} bytes`);
    }
    const { id, v, since } = header;
    const isSame = this.versions?.id === id && this.versions.v === v && this.versions.since === since;
    if (!isSame || total !== this.total) {
      this.drop();
      this.total = total;
      this.versions = { id, v, since };
    }
    if (start !== this.byteCount) {
      return null;
    }
    this.parts.push(part);
    this.byteCount += part.length;
    if (this.byteCount < total) {
      return null;
    }
    const update = concatenate(this.parts);
    this.drop();
    return update;
  }

  private drop(): void {
    this.versions = null;
    this.parts = [];
    this.byteCount = 0;
  }
}
