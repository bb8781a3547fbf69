import type { TabError } from "./protocol";

/** Errors on their way to the session: each word once, one per frame, repeated until that frame is acknowledged. */
export class ErrorQueue {
  private readonly waiting: TabError[] = [];
  private readonly known = new Set<TabError>();
  private sent: TabError | null = null;

  /** False if the word was told before. */
  add(error: TabError): boolean {
    if (this.known.has(error)) {
      return false;
    }
    this.known.add(error);
    this.waiting.push(error);
    return true;
  }

  /** The word for the frame that is being sent. */
  next(): TabError | null {
    this.sent = this.waiting[0] ?? null;
    return this.sent;
  }

  /** The last frame arrived; true if there is more to tell. */
  acknowledge(): boolean {
    if (this.sent !== null) {
      this.waiting.shift();
      this.sent = null;
    }
    return this.waiting.length > 0;
  }
}
