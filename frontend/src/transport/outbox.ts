/**
 * Schedule of the tab's frames: one in flight at a time, later requests coalesced, retries until it is acknowledged.
 *
 * Only an acknowledgement of its version answers a frame. Streamlit may drop a trigger (streamlit#16732), and the session
 * may have sent a frame before it received ours.
 */
import { Timer } from "../clock";
import type { Clock } from "../clock";
import type { Why } from "./frame";

/** Delay before the first hello is sent again. It is the frame most likely to be lost, and everything waits for it. */
const HELLO_RESEND_MS = 1_000;
/** Delay before another frame is sent again. Longer than most script runs, because a fragment waits for the current run. */
const RESEND_MS = 3_000;
/** The delay doubles with each retry up to this limit. */
const MAX_RESEND_MS = 30_000;
/**
 * Delay after a session's frame that does not acknowledge ours. Either the two crossed, or Streamlit dropped ours: the rerun
 * of a click stops the runner that holds a waiting fragment rerun, and its trigger with it. During a run a second trigger
 * joins the first, so the retry costs nothing.
 */
const CROSSED_RESEND_MS = 300;

/** Reasons by precedence: a frame for several reasons states the first one. */
const PRECEDENCE: readonly Why[] = [
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
/** Reasons that a retry states again. These requests show in no other field of the frame. */
const REPEATED: readonly Why[] = ["hello", "token"];

/** Versions that a frame covers. */
export interface SentVersions {
  readonly since: number;
  readonly v: number;
}

export interface FrameSender {
  /** Encode and send a frame with everything that is not acknowledged. */
  transmit(why: Why): SentVersions;
  /** A retry is due, and the session has sent nothing since the frame, although it has answered before. */
  onSilence(): void;
}

interface InFlight extends SentVersions {
  readonly why: Why;
  readonly delay_ms: number;
}

export class Outbox {
  private readonly requested = new Set<Why>();
  private readonly retry: Timer;
  private inFlight: InFlight | null = null;
  private isOpened = false;
  private hasReceived = false;

  constructor(
    private readonly clock: Clock,
    private readonly sender: FrameSender,
  ) {
    this.retry = new Timer(clock);
  }

  get isOpen(): boolean {
    return this.isOpened;
  }

  /** Request a frame. It is sent after the current task, or after the frame in flight is acknowledged. */
  request(why: Why): void {
    this.requested.add(why);
    this.scheduleFlush();
  }

  open(): void {
    this.isOpened = true;
    if (this.inFlight === null) {
      this.flush();
    } else {
      this.resend();
    }
  }

  /** Send nothing until `open()`. Requests are kept. */
  close(): void {
    this.isOpened = false;
    this.retry.cancel();
  }

  /** Drop the frame in flight, for example because its session has ended. */
  drop(): void {
    this.retry.cancel();
    this.inFlight = null;
  }

  /** The session has the part of an update that is in flight. The next part follows. */
  proceed(): void {
    this.drop();
    this.request("update");
  }

  /**
   * Process the acknowledgement of a session's frame; null means that the session does not know this tab. Returns whether it
   * covers the frame in flight.
   */
  acknowledge(version: number | null): boolean {
    this.hasReceived = true;
    const inFlight = this.inFlight;
    if (inFlight === null) {
      return false;
    }
    if (version !== null && version >= inFlight.v) {
      this.drop();
      this.scheduleFlush();
      return true;
    }
    if (version !== null && version < inFlight.since) {
      this.resend();
    } else if (version !== null) {
      this.inFlight = { ...inFlight, delay_ms: CROSSED_RESEND_MS };
      this.scheduleRetry(CROSSED_RESEND_MS);
    }
    return false;
  }

  private scheduleFlush(): void {
    this.clock.soon(() => {
      this.flush();
    });
  }

  private flush(): void {
    const why = PRECEDENCE.find((reason) => this.requested.has(reason));
    if (this.isOpened && this.inFlight === null && why !== undefined) {
      this.send(why, why, why === "hello" ? HELLO_RESEND_MS : RESEND_MS);
    }
  }

  /** Send everything that is not acknowledged. A hello stays a hello, because the session may not have received it. */
  private resend(): void {
    const lost = this.inFlight;
    if (lost !== null && this.isOpened) {
      this.send(
        lost.why,
        REPEATED.includes(lost.why) ? lost.why : "resend",
        Math.min(lost.delay_ms * 2, MAX_RESEND_MS),
      );
    }
  }

  private send(why: Why, stated: Why, delay_ms: number): void {
    this.requested.clear();
    this.hasReceived = false;
    this.inFlight = { ...this.sender.transmit(stated), why, delay_ms };
    this.scheduleRetry(delay_ms);
  }

  private scheduleRetry(delay_ms: number): void {
    this.retry.start(delay_ms, () => {
      if (!this.hasReceived && this.isOpened && this.inFlight?.why !== "hello") {
        this.sender.onSilence();
      }
      this.resend();
    });
  }
}
