/**
 * Times at which the tab requests what its document lacks (rule S6).
 *
 * A *gap* is the updates on which pending ones depend. Reordered updates close it within milliseconds. Each request of a gap
 * doubles the wait for the next one, so a gap that never closes costs next to nothing.
 */
import { Timer } from "../clock";
import type { Clock } from "../clock";

/** Time that a gap lasts before the first request. */
export const FIRST_REQUEST_MS = 1_000;

export class GapTimer {
  private readonly timer: Timer;
  private gap: string | null = null;
  private due_ms = 0;

  /** `request`: ask for what the document lacks. */
  constructor(
    private readonly clock: Clock,
    private readonly request: () => void,
  ) {
    this.timer = new Timer(clock);
  }

  /** Note the gap of the document, under any identity; null: there is none. */
  note(gap: string | null): void {
    if (gap === this.gap) {
      return;
    }
    const hadGap = this.gap !== null;
    this.gap = gap;
    if (gap === null) {
      this.timer.cancel();
    } else if (!hadGap || this.due_ms > this.clock.now_ms + FIRST_REQUEST_MS) {
      // A request that is due earlier stays: gaps that open without end must not postpone it.
      this.start(FIRST_REQUEST_MS);
    }
  }

  private start(delay_ms: number): void {
    this.due_ms = this.clock.now_ms + delay_ms;
    this.timer.start(delay_ms, () => {
      this.start(2 * delay_ms);
      this.request();
    });
  }
}
