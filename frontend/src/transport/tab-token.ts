/** Token that admits the tab to its room. The session signs it; the tab requests a new one before it expires. */
import { Timer } from "../clock";
import type { Clock } from "../clock";

/** Part of the token's lifetime after which the tab requests a new one. The rest is for a session that is busy. */
const RENEW_AT = 0.8;
/** Limit of `setTimeout`. Browsers run a longer delay at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

export class TabToken {
  private current: string | null = null;
  private renewAt_ms = Infinity;
  private requestedAt_ms: number | null = null;
  private readonly renewal: Timer;

  /** `request`: ask the session for a new token. `onNew`: called after each new token. */
  constructor(
    private readonly clock: Clock,
    private readonly request: () => void,
    private readonly onNew: () => void,
  ) {
    this.renewal = new Timer(clock);
  }

  get text(): string | null {
    return this.current;
  }

  /** Store the token of a session's frame. The current one, or null, changes nothing. */
  update(text: string | null, expiresIn_s: number | null): void {
    if (text === null || text === this.current) {
      return;
    }
    this.current = text;
    this.renewAt_ms = expiresIn_s === null ? Infinity : this.clock.now_ms + expiresIn_s * 1_000 * RENEW_AT;
    this.scheduleRenewal();
    this.onNew();
  }

  /** The server rejected a connection, or closed one. It does not state the reason, so that it reveals nothing. */
  onRejected(): void {
    if (this.current !== null) {
      this.requestOnce();
    }
  }

  /** A connection is open, so the next rejection has another cause. */
  onAdmitted(): void {
    this.requestedAt_ms = null;
  }

  stop(): void {
    this.renewal.cancel();
  }

  private scheduleRenewal(): void {
    this.renewal.cancel();
    const left_ms = this.renewAt_ms - this.clock.now_ms;
    if (left_ms <= 0) {
      this.requestOnce();
    } else if (left_ms < Infinity) {
      this.renewal.start(Math.min(left_ms, MAX_DELAY_MS), () => {
        this.scheduleRenewal();
      });
    }
  }

  /**
   * Request a token at most once after a rejection and once when the renewal is due. An unreachable server rejects every
   * attempt, and each request costs a script run. A new token does not allow another request: the session answers each
   * request with a new token.
   */
  private requestOnce(): void {
    const now_ms = this.clock.now_ms;
    const wasRequestedWhenDue = this.requestedAt_ms !== null && this.requestedAt_ms >= this.renewAt_ms;
    if (this.requestedAt_ms === null || (now_ms >= this.renewAt_ms && !wasRequestedWhenDue)) {
      this.requestedAt_ms = now_ms;
      this.request();
    }
  }
}
