/**
 * The tab's side of the channel to its session: what a session's frame changes, and what the tab's own frames say.
 *
 * Edits that arrive while a run is under way cost one further run, however many they are (P4): `Outbox` sees to that. A
 * frame without an update counts as a version too, so that its answer can be told from a frame that crossed it.
 *
 * No DOM and no clock of its own: `send` and `clock` are passed in.
 */
import { toBase64 } from "lib0/buffer";

import { Interval } from "../clock";
import type { Clock } from "../clock";
import type { Replica } from "../document/replica";
import { FrameError } from "../errors";
import { decodeFrame, decodeStateVector, encodeFrame } from "./frame";
import type {
  Begun,
  Overwritten,
  SessionFrame,
  SessionHeader,
  Status,
  StatusReport,
  TabError,
  TabHeader,
  Why,
} from "./frame";
import { Outbox } from "./outbox";
import type { Sent } from "./outbox";

/** A reconnect flaps within this; one message tells how it ended. */
const STATUS_COALESCE_MS = 150;
/** A value that was put into a widget has reached the page and been sent back, if at all, by then. */
const CONFIRM_QUIET_MS = 400;
/** A session's frame repeats what we have not acknowledged: from this size on a run to say so is the cheaper thing (R7). */
const ACK_FROM_BYTES = 4 * 1024;
/** A hidden page's reader can wait. */
const HIDDEN_POLL_FACTOR = 10;

export interface ChannelOptions {
  readonly replica: Replica;
  readonly clock: Clock;
  readonly build: string;
  /** Hands a base64 frame to the session. May lose it. */
  readonly send: (frame: string) => void;
  /** Asked before a session's frame is applied; false leaves the whole frame out. */
  readonly admits: (header: SessionHeader) => boolean;
  /** Called with each session header, after its update was applied; `seen`: up to which version nothing is missing. */
  readonly onSession: (header: SessionHeader, seen: number) => void;
  /** How the room stands with its server, told in each frame. */
  readonly standing: () => StatusReport;
  /** What each open draft in the page was begun on, by its widget's class name. */
  readonly drafts?: () => Readonly<Record<string, Begun>>;
  /** Texts that were committed in the page a moment ago and that another was put over since, likewise. */
  readonly overwritten?: () => Readonly<Record<string, Overwritten>>;
  /** Elements with drafts that a form in the page has not submitted. */
  readonly unsubmitted?: () => readonly string[];
  /** Called when another session answers than before. */
  readonly onOtherSession?: () => void;
  /** Called when the page should be reloaded: another build speaks on the other side. */
  readonly onOldBuild: () => void;
  /** Called when the session, which answered before, has fallen silent. */
  readonly onSilence: () => void;
  /** Called with each frame that was refused. */
  readonly onRefused: (error: FrameError) => void;
}

export class Channel {
  private readonly outbox: Outbox;
  private readonly poll: Interval;
  private readonly errors = new ErrorQueue();
  private peer: AckState | null = null;
  private isVisible = true;
  private status: Status = "connecting";
  private synced = false;
  private toldStatus: string | null = null;
  private poll_s: number | null = null;
  private confirmed: number | null = null;
  private count = 0;
  private cancelStatus: () => void = nothing;
  private cancelConfirm: () => void = nothing;
  private cancelOpening: () => void = nothing;

  constructor(private readonly options: ChannelOptions) {
    this.outbox = new Outbox(options.clock, (why) => this.transmit(why), options.onSilence);
    this.poll = new Interval(options.clock, () => {
      this.outbox.want("poll");
    });
    options.replica.onChange = (wakes) => {
      if (wakes) {
        this.outbox.want("update");
      }
    };
  }

  /** Say hello once the host has finished mounting. */
  open(): void {
    this.outbox.want("hello");
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
      this.tellStatus();
    });
  }

  /** Tell the session of an error, once per word. */
  report(error: TabError): void {
    if (this.errors.add(error)) {
      this.outbox.want("status");
    }
  }

  /** Ask for a frame: for a fresh token, because more is saved now, because a form has other drafts, or a commit was written over. */
  want(why: "token" | "saved" | "form" | "draft"): void {
    this.outbox.want(why);
  }

  setVisible(isVisible: boolean): void {
    const cameBack = isVisible && !this.isVisible;
    this.isVisible = isVisible;
    this.schedulePoll();
    if (cameBack && this.poll.isRunning) {
      this.outbox.want("poll");
    }
  }

  /** The page is being left or frozen: send nothing until `resume`. */
  pause(): void {
    this.outbox.close();
    this.poll.stop();
    this.cancelOpening();
    this.cancelStatus();
    this.cancelConfirm();
  }

  resume(): void {
    this.outbox.open();
    this.schedulePoll();
    this.tellStatus();
  }

  private accept({ header, update }: SessionFrame): void {
    const { replica, build, admits, onSession } = this.options;
    if (!admits(header)) {
      return;
    }
    replica.own = new Set(header.own);
    if (update.length > 0) {
      replica.applyFromChannel(update);
    }
    if (header.build !== build) {
      this.noteOldBuild();
    }
    const peer = this.follow(header);
    const shouldAcknowledge = update.length > ACK_FROM_BYTES && peer.seen > peer.told;
    if (header.settle || shouldAcknowledge) {
      this.outbox.want("settle");
    }
    this.scheduleConfirm(header.confirm);
    this.poll_s = header.poll_s;
    this.schedulePoll();
    onSession(header, peer.seen);
  }

  private follow(header: SessionHeader): AckState {
    const { replica } = this.options;
    const peer = this.peer?.id === header.id ? this.peer : this.meet(header.id);
    const acked = peer.follow(header, replica.id, replica.version);
    replica.acknowledge(peer.acked);
    if (this.outbox.acknowledge(acked) && this.errors.acknowledge()) {
      this.outbox.want("status");
    }
    return peer;
  }

  /** Another session's first frame: it knows nothing of us, whatever the one before it knew. */
  private meet(id: number): AckState {
    if (this.peer !== null) {
      this.options.replica.startOver();
      this.options.onOtherSession?.();
      this.outbox.forget();
      this.outbox.want("hello");
    }
    this.peer = new AckState(id);
    return this.peer;
  }

  private transmit(why: Why): Sent {
    const { replica, send } = this.options;
    const acked = this.peer?.acked ?? 0;
    if (replica.version === acked) {
      replica.touch();
    }
    const { since, update } = replica.deltaSince(acked, this.peer?.stateVector ?? null);
    const header = this.header(why, since, acked);
    this.cancelStatus();
    this.toldStatus = this.statusWord();
    if (this.peer !== null) {
      this.peer.told = this.peer.seen;
    }
    send(encodeFrame(header, update));
    return header;
  }

  private header(why: Why, since: number, acked: number): TabHeader {
    const { replica, build, standing } = this.options;
    const drafts = this.options.drafts?.() ?? {};
    const overwritten = this.options.overwritten?.() ?? {};
    const unsubmitted = this.options.unsubmitted?.() ?? [];
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
      error: this.errors.next(),
      n: this.count,
      ...standing(),
      ...(Object.keys(drafts).length > 0 ? { drafts } : {}),
      ...(Object.keys(overwritten).length > 0 ? { overwritten } : {}),
      ...(unsubmitted.length > 0 ? { unsubmitted } : {}),
    };
  }

  /** Wait for quiet: every newer frame starts the wait again, or ends it. */
  private scheduleConfirm(delivery: number | null): void {
    this.cancelConfirm();
    if (delivery !== null && delivery !== this.confirmed) {
      this.cancelConfirm = this.options.clock.after(CONFIRM_QUIET_MS, () => {
        this.confirmed = delivery;
        this.outbox.want("confirm");
      });
    }
  }

  private schedulePoll(): void {
    if (this.poll_s === null || this.status === "connected" || !this.outbox.isOpen) {
      this.poll.stop();
      return;
    }
    this.poll.every(this.poll_s * 1_000 * (this.isVisible ? 1 : HIDDEN_POLL_FACTOR));
  }

  private tellStatus(): void {
    if (this.toldStatus !== null && this.toldStatus !== this.statusWord()) {
      this.outbox.want("status");
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

/** What tab and session know of each other's versions. */
export class AckState {
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
