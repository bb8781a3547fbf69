/**
 * The token that opens the room for this tab. Its session makes it; the tab asks for another one in time, so that no
 * script has to run for it.
 */
import type { Clock } from "../clock";

/** Asked for when this part of the token's life has passed: the rest is for a session that is busy. */
const RENEW_AT = 0.8;
/** Longer delays make browsers fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export class TabToken {
  private current: string | null = null;
  private renewAt_ms = Infinity;
  private askedAt_ms: number | null = null;
  private cancel: () => void = nothing;

  /** `ask`: the session should send a fresh one. `onNew`: it has. */
  constructor(
    private readonly clock: Clock,
    private readonly ask: () => void,
    private readonly onNew: () => void,
  ) {}

  get text(): string | null {
    return this.current;
  }

  /** Take what the session sent; the same one again, or none, changes nothing. */
  take(text: string | null, expiresIn_s: number | null): void {
    if (text === null || text === this.current) {
      return;
    }
    this.current = text;
    this.renewAt_ms = expiresIn_s === null ? Infinity : this.clock.now_ms + expiresIn_s * 1_000 * RENEW_AT;
    this.waitForRenewal();
    this.onNew();
  }

  /** The server did not let the tab in, or not any longer. It does not say why, so that strangers learn nothing. */
  refused(): void {
    if (this.current !== null) {
      this.askOnce();
    }
  }

  /** A connection is open: the next refusal has another cause. */
  admitted(): void {
    this.askedAt_ms = null;
  }

  stop(): void {
    this.cancel();
  }

  private waitForRenewal(): void {
    this.cancel();
    const left_ms = this.renewAt_ms - this.clock.now_ms;
    if (left_ms <= 0) {
      this.askOnce();
    } else if (left_ms < Infinity) {
      this.cancel = this.clock.after(Math.min(left_ms, MAX_DELAY_MS), () => {
        this.waitForRenewal();
      });
    }
  }

  /**
   * Once when refused and once when due: a server that is down refuses every attempt, and each question costs a run. A
   * fresh token is no reason to ask again: sessions answer each question with one.
   */
  private askOnce(): void {
    const now_ms = this.clock.now_ms;
    const wasAskedInTime = this.askedAt_ms !== null && this.askedAt_ms >= this.renewAt_ms;
    if (this.askedAt_ms === null || (now_ms >= this.renewAt_ms && !wasAskedInTime)) {
      this.askedAt_ms = now_ms;
      this.ask();
    }
  }
}

function nothing(): void {
  // Nothing is scheduled.
}
