/**
 * The tab's side of the channel to its session: when a frame is sent, and what a session's frame changes.
 *
 * One frame is in flight at a time and everything else is coalesced into the next, so that edits that arrive while a run
 * is under way cost one further run (P4). A frame is answered by the acknowledgement of its version and by nothing else:
 * Streamlit may drop a trigger (streamlit#16732), and a session's frame may have been on its way before ours. That is
 * why a frame without an update counts as a version too.
 *
 * No DOM and no clock of its own: `send` and `clock` are passed in.
 */
import { toBase64 } from "lib0/buffer";

import type { Clock } from "./clock";
import { decodeFrame, decodeStateVector, encodeFrame } from "./frame";
import type { SessionFrame } from "./frame";
import { FrameError } from "./protocol";
import type { SessionHeader, Status, TabError, TabHeader, Why } from "./protocol";
import type { Replica } from "./replica";
import { Repeating } from "./repeating";

/** The first hello is the frame most likely to be lost, and the one that everything waits for. */
const HELLO_RESEND_MS = 1_000;
/** Longer than most script runs: a fragment's run waits for the run under way. */
const RESEND_MS = 3_000;
const MAX_RESEND_MS = 30_000;
/** A reconnect flaps within this; one message tells how it ended. */
const STATUS_COALESCE_MS = 150;
/** A value that was put into a widget has reached the page and been sent back, if at all, by then. */
const CONFIRM_QUIET_MS = 400;
/** A session's frame repeats what we have not acknowledged: from this size on a run to say so is the cheaper thing (R7). */
const ACK_FROM_BYTES = 4 * 1024;
/** A hidden page's reader can wait. */
const HIDDEN_POLL_FACTOR = 10;

/** Which reason a frame states when there are several; the first one wins. */
const REASONS: readonly Why[] = ["hello", "update", "confirm", "settle", "status", "poll"];

export interface ChannelOptions {
  readonly replica: Replica;
  readonly clock: Clock;
  readonly build: string;
  /** Hands a base64 frame to the session. May lose it. */
  readonly send: (frame: string) => void;
  /** Called with each session header, after its update was applied. */
  readonly onSession: (header: SessionHeader) => void;
  /** Called when the page should be reloaded: another build speaks on the other side. */
  readonly onOldBuild: () => void;
  /** Called with each frame that was refused. */
  readonly onRefused: (error: FrameError) => void;
}

interface Peer {
  readonly id: number;
  /** Version of ours that the session has acknowledged. */
  acked: number;
  /** Version of the session's of which everything is applied here. */
  seen: number;
  /** The `seen` that our last frame told. */
  told: number;
  stateVector: Uint8Array | null;
}

interface InFlight {
  readonly why: Why;
  readonly since: number;
  readonly v: number;
  readonly error: TabError | null;
  readonly delay_ms: number;
  readonly cancel: () => void;
}

export class Channel {
  private readonly wants = new Set<Why>();
  private readonly errors: TabError[] = [];
  private readonly reported = new Set<TabError>();
  private readonly poll: Repeating;
  private peer: Peer | null = null;
  private inFlight: InFlight | null = null;
  private isOpen = false;
  private isVisible = true;
  private status: Status = "connecting";
  private synced = false;
  private told = "";
  private poll_s: number | null = null;
  private confirmed: number | null = null;
  private count = 0;
  private cancelStatus: () => void = nothing;
  private cancelConfirm: () => void = nothing;
  private cancelOpening: () => void = nothing;

  constructor(private readonly options: ChannelOptions) {
    this.poll = new Repeating(options.clock, () => {
      this.want("poll");
    });
    options.replica.onChange = (wakes) => {
      if (wakes) {
        this.want("update");
      }
    };
  }

  /** Say hello once the host has finished mounting. */
  open(): void {
    this.wants.add("hello");
    this.cancelOpening = this.options.clock.after(0, () => {
      this.resume();
    });
  }

  /** Apply a session's frame, then take note of what it acknowledges and asks for. */
  receive(bytes: Uint8Array): void {
    let frame: SessionFrame;
    try {
      frame = decodeFrame(bytes);
    } catch (error) {
      this.refuse(error);
      this.noteOldBuild();
      return;
    }
    try {
      this.accept(frame);
    } catch (error) {
      this.refuse(error);
    }
  }

  setStatus(status: Status, synced: boolean): void {
    if (status === this.status && synced === this.synced) {
      return;
    }
    this.status = status;
    this.synced = synced;
    this.schedulePoll();
    this.cancelStatus();
    this.cancelStatus = this.options.clock.after(STATUS_COALESCE_MS, () => {
      if (this.told !== this.statusWord()) {
        this.want("status");
      }
    });
  }

  /** Tell the session of an error, once per word. */
  report(error: TabError): void {
    if (!this.reported.has(error)) {
      this.reported.add(error);
      this.errors.push(error);
      this.want("status");
    }
  }

  setVisible(isVisible: boolean): void {
    const cameBack = isVisible && !this.isVisible;
    this.isVisible = isVisible;
    this.schedulePoll();
    if (cameBack && this.poll.isRunning) {
      this.want("poll");
    }
  }

  /** The page is being hidden for good or frozen: send nothing until `resume`. */
  pause(): void {
    this.isOpen = false;
    this.poll.stop();
    this.cancelOpening();
    this.cancelStatus();
    this.cancelConfirm();
    this.inFlight?.cancel();
  }

  resume(): void {
    this.isOpen = true;
    this.schedulePoll();
    if (this.told !== "" && this.told !== this.statusWord()) {
      this.wants.add("status");
    }
    if (this.inFlight === null) {
      this.flush();
    } else {
      this.resend();
    }
  }

  private accept({ header, update }: SessionFrame): void {
    const { replica } = this.options;
    replica.own = new Set(header.own);
    if (update.length > 0) {
      replica.applyFromChannel(update);
    }
    if (header.build !== this.options.build) {
      this.noteOldBuild();
    }
    const peer = this.follow(header);
    if (update.length > ACK_FROM_BYTES && peer.seen > peer.told) {
      this.want("settle");
    }
    if (header.settle) {
      this.want("settle");
    }
    this.scheduleConfirm(header.confirm);
    this.poll_s = header.poll_s;
    this.schedulePoll();
    this.options.onSession(header);
  }

  /** Bring both acknowledgements up to date; another session's first frame starts over. */
  private follow(header: SessionHeader): Peer {
    let peer = this.peer;
    if (peer?.id !== header.id) {
      if (peer !== null) {
        this.options.replica.startOver();
        this.inFlight?.cancel();
        this.inFlight = null;
        this.want("hello");
      }
      peer = { id: header.id, acked: 0, seen: 0, told: 0, stateVector: null };
      this.peer = peer;
    }
    if (header.since <= peer.seen) {
      peer.seen = Math.max(peer.seen, header.v);
    }
    if (header.sv !== undefined) {
      peer.stateVector = decodeStateVector(header.sv);
    }
    const knowsUs = header.ack_of === this.options.replica.id;
    peer.acked = knowsUs ? Math.min(header.ack, this.options.replica.version) : 0;
    this.options.replica.acknowledge(peer.acked);
    this.noteAnswer(peer, knowsUs);
    return peer;
  }

  private noteAnswer(peer: Peer, knowsUs: boolean): void {
    const inFlight = this.inFlight;
    if (inFlight === null) {
      return;
    }
    if (peer.acked >= inFlight.v) {
      inFlight.cancel();
      this.inFlight = null;
      this.forgetError(inFlight.error);
      this.flushSoon();
    } else if (knowsUs && peer.acked < inFlight.since) {
      this.resend();
    } else if (inFlight.delay_ms > RESEND_MS) {
      // The session is alive after all: do not sit out a long back-off.
      inFlight.cancel();
      this.inFlight = { ...inFlight, ...this.resendAfter(RESEND_MS) };
    }
  }

  private want(why: Why): void {
    this.wants.add(why);
    this.flushSoon();
  }

  private flushSoon(): void {
    this.options.clock.soon(() => {
      this.flush();
    });
  }

  private flush(): void {
    if (!this.isOpen || this.inFlight !== null) {
      return;
    }
    const why = REASONS.find((reason) => this.wants.has(reason));
    if (why !== undefined) {
      this.transmit(why, why, why === "hello" ? HELLO_RESEND_MS : RESEND_MS);
    }
  }

  /** Send again all that is not acknowledged. A hello stays a hello: the session may not have seen the first one. */
  private resend(): void {
    const lost = this.inFlight;
    if (lost !== null && this.isOpen) {
      lost.cancel();
      const delay_ms = Math.min(lost.delay_ms * 2, MAX_RESEND_MS);
      this.transmit(lost.why, lost.why === "hello" ? "hello" : "resend", delay_ms);
    }
  }

  private transmit(why: Why, stated: Why, delay_ms: number): void {
    const { replica } = this.options;
    const acked = this.peer?.acked ?? 0;
    if (replica.version === acked) {
      replica.touch();
    }
    const { since, update } = replica.deltaSince(acked, this.peer?.stateVector ?? null);
    const header = this.header(stated, since, acked);
    this.wants.clear();
    this.cancelStatus();
    this.told = this.statusWord();
    if (this.peer !== null) {
      this.peer.told = this.peer.seen;
    }
    this.inFlight = { why, since, v: header.v, error: header.error, ...this.resendAfter(delay_ms) };
    this.options.send(encodeFrame(header, update));
  }

  private header(why: Why, since: number, acked: number): TabHeader {
    const { replica, build } = this.options;
    this.count += 1;
    return {
      id: replica.id,
      v: replica.version,
      since,
      ack_of: this.peer?.id ?? null,
      ack: this.peer?.seen ?? 0,
      ...(acked === 0 ? { sv: toBase64(replica.stateVector()) } : {}),
      build,
      why,
      status: this.status,
      synced: this.synced,
      confirmed: this.confirmed,
      error: this.errors[0] ?? null,
      n: this.count,
    };
  }

  private resendAfter(delay_ms: number): Pick<InFlight, "delay_ms" | "cancel"> {
    const cancel = this.options.clock.after(delay_ms, () => {
      this.resend();
    });
    return { delay_ms, cancel };
  }

  /** Wait for quiet: every newer frame starts the wait again, or ends it. */
  private scheduleConfirm(delivery: number | null): void {
    this.cancelConfirm();
    if (delivery === null || delivery === this.confirmed) {
      return;
    }
    this.cancelConfirm = this.options.clock.after(CONFIRM_QUIET_MS, () => {
      this.confirmed = delivery;
      this.want("confirm");
    });
  }

  private schedulePoll(): void {
    if (this.poll_s === null || this.status === "connected" || !this.isOpen) {
      this.poll.stop();
      return;
    }
    this.poll.every(this.poll_s * 1_000 * (this.isVisible ? 1 : HIDDEN_POLL_FACTOR));
  }

  private forgetError(error: TabError | null): void {
    if (error !== null && this.errors[0] === error) {
      this.errors.shift();
      if (this.errors.length > 0) {
        this.want("status");
      }
    }
  }

  private noteOldBuild(): void {
    this.report("old-build");
    this.options.onOldBuild();
  }

  private refuse(error: unknown): void {
    if (!(error instanceof FrameError)) {
      throw error;
    }
    this.options.onRefused(error);
  }

  private statusWord(): string {
    return `${this.status} ${this.synced}`;
  }
}

function nothing(): void {
  // Nothing is scheduled.
}
