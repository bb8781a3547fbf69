/**
 * When a frame leaves: one in flight at a time, everything else coalesced into the next, and again until it is acknowledged.
 *
 * A frame is answered by the acknowledgement of its version and by nothing else: Streamlit may drop a trigger
 * (streamlit#16732), and a session's frame may have been on its way before ours.
 */
import type { Clock } from "../clock";
import type { Why } from "./frame";

/** The first hello is the frame most likely to be lost, and the one that everything waits for. */
const HELLO_RESEND_MS = 1_000;
/** Longer than most script runs: a fragment's run waits for the run under way. */
const RESEND_MS = 3_000;
const MAX_RESEND_MS = 30_000;
/**
 * After a session's frame that does not know the one in flight. Either the two passed each other, or Streamlit dropped ours:
 * a click's rerun stops the runner that holds a waiting fragment's rerun, and its trigger with it. While a run is under
 * way a second one joins the first, so asking again costs nothing.
 */
const PASSED_BY_RESEND_MS = 300;

/** Which reason a frame states when there are several; the first one wins. */
const REASONS: readonly Why[] = [
  "hello",
  "token",
  "update",
  "confirm",
  "settle",
  "saved",
  "form",
  "draft",
  "status",
  "poll",
];
/** Reasons that a repeated frame states again: what they ask for shows in nothing else. */
const ASKING: readonly Why[] = ["hello", "token"];

/** The versions that a frame covered. */
export interface Sent {
  readonly since: number;
  readonly v: number;
}

interface InFlight extends Sent {
  readonly why: Why;
  readonly delay_ms: number;
  readonly cancel: () => void;
}

export class Outbox {
  private readonly wants = new Set<Why>();
  private inFlight: InFlight | null = null;
  private isOpened = false;
  private hasHeard = false;

  /**
   * `transmit` makes and sends a frame of all that there is to say; `onSilence` is called when one has to be sent again
   * although the session, which answered before, has not sent anything since.
   */
  constructor(
    private readonly clock: Clock,
    private readonly transmit: (why: Why) => Sent,
    private readonly onSilence: () => void,
  ) {}

  get isOpen(): boolean {
    return this.isOpened;
  }

  /** Ask for a frame; as soon as the current task is over, or else when the one in flight is answered. */
  want(why: Why): void {
    this.wants.add(why);
    this.flushSoon();
  }

  open(): void {
    this.isOpened = true;
    if (this.inFlight === null) {
      this.flush();
    } else {
      this.resend();
    }
  }

  /** Send nothing until `open`; what was asked for is kept. */
  close(): void {
    this.isOpened = false;
    this.inFlight?.cancel();
  }

  /** The frame in flight was for somebody who is gone. */
  forget(): void {
    this.inFlight?.cancel();
    this.inFlight = null;
  }

  /** Take note of an acknowledgement (null: the session does not know us); true if it answers the frame in flight. */
  acknowledge(version: number | null): boolean {
    this.hasHeard = true;
    const inFlight = this.inFlight;
    if (inFlight === null) {
      return false;
    }
    if (version !== null && version >= inFlight.v) {
      this.forget();
      this.flushSoon();
      return true;
    }
    if (version !== null && version < inFlight.since) {
      this.resend();
    } else if (version !== null) {
      inFlight.cancel();
      this.inFlight = { ...inFlight, ...this.resendAfter(PASSED_BY_RESEND_MS) };
    }
    return false;
  }

  private flushSoon(): void {
    this.clock.soon(() => {
      this.flush();
    });
  }

  private flush(): void {
    const why = REASONS.find((reason) => this.wants.has(reason));
    if (this.isOpened && this.inFlight === null && why !== undefined) {
      this.send(why, why, why === "hello" ? HELLO_RESEND_MS : RESEND_MS);
    }
  }

  /** Send again all that is not acknowledged. A hello stays a hello: the session may not have seen the first one. */
  private resend(): void {
    const lost = this.inFlight;
    if (lost !== null && this.isOpened) {
      lost.cancel();
      this.send(
        lost.why,
        ASKING.includes(lost.why) ? lost.why : "resend",
        Math.min(lost.delay_ms * 2, MAX_RESEND_MS),
      );
    }
  }

  private send(why: Why, stated: Why, delay_ms: number): void {
    this.wants.clear();
    this.hasHeard = false;
    this.inFlight = { why, ...this.transmit(stated), ...this.resendAfter(delay_ms) };
  }

  private resendAfter(delay_ms: number): Pick<InFlight, "delay_ms" | "cancel"> {
    const cancel = this.clock.after(delay_ms, () => {
      if (!this.hasHeard && this.isOpened && this.inFlight?.why !== "hello") {
        this.onSilence();
      }
      this.resend();
    });
    return { delay_ms, cancel };
  }
}
