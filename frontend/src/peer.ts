/** What tab and session know of each other's versions. */
import { decodeStateVector } from "./frame";
import type { SessionHeader } from "./protocol";

export class Peer {
  /** Version of ours that the session has acknowledged. */
  acked = 0;
  /** Version of the session's of which everything is applied here. */
  seen = 0;
  /** The `seen` that our last frame told. */
  told = 0;
  stateVector: Uint8Array | null = null;

  /** `id`: the session's replica id. */
  constructor(readonly id: number) {}

  /**
   * Bring both acknowledgements up to date after the header's update was applied. Returns the version of ours that is
   * acknowledged, null if the session does not know `tabId`. Raises `FrameError`.
   */
  follow(header: SessionHeader, tabId: number, tabVersion: number): number | null {
    if (header.since <= this.seen) {
      this.seen = Math.max(this.seen, header.v);
    }
    if (header.sv !== undefined) {
      this.stateVector = decodeStateVector(header.sv);
    }
    const acked = header.ack_of === tabId ? Math.min(header.ack, tabVersion) : null;
    this.acked = acked ?? 0;
    return acked;
  }
}
