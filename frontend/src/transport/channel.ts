/**
 * The tab's end of the channel to its session: applies the session's frames, and sends the tab's.
 *
 * Edits that arrive during a script run cost one further run, however many there are (P4), because `Outbox` coalesces them.
 * A frame without an update increases the version too, so that its acknowledgement differs from that of a frame that
 * crossed it. No DOM and no clock of its own: `send` and `clock` are passed in.
 */
import { toBase64 } from "lib0/buffer";

import { Interval, Timer } from "../clock";
import type { Clock } from "../clock";
import type { Replica } from "../document/replica";
import { FrameError } from "../errors";
import { decodeFrame, decodeStateVector, encodeFrame } from "./frame";
import type {
  DraftBase,
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
import type { FrameSender, SentVersions } from "./outbox";
import { IncomingTransfer, OutgoingTransfer } from "./transfer";
import type { PartRange } from "./transfer";

/** A status that changes back within this time is not sent. A reconnect changes it several times. */
const STATUS_COALESCE_MS = 150;
/** Quiet time after which the page has sent back a remote write, if it does so at all. */
const CONFIRM_QUIET_MS = 400;
/** The session repeats an update until it is acknowledged. From this size on, a script run for that costs less (R7). */
const ACK_FROM_BYTES = 4 * 1024;
/** Factor of the poll interval while the page is hidden. */
const HIDDEN_POLL_FACTOR = 10;

/** Connection and save status of the tab's room. */
export interface StatusSource {
  /** Return whether to apply a session's frame. Called before its update is applied. */
  accepts(header: SessionHeader): boolean;
  /** The room was rewritten: the document of this tab is of no use to a session that does not have it. */
  readonly isRewritten?: boolean;
  /** Return the status that each frame reports. */
  report(): StatusReport;
}

/** Drafts in text fields, by the class name of their widget. */
export interface TextDraftSource {
  bases(): Readonly<Record<string, DraftBase>>;
  overwritten(): Readonly<Record<string, Overwritten>>;
  /** Another session has begun. */
  forgetCommits(): void;
}

/** Drafts in forms. */
export interface FormDraftSource {
  /** Return the element ids of the fields with drafts. */
  unsubmitted(): readonly string[];
}

export interface ChannelListener {
  /** A session's frame was applied. Everything of the session up to version `received` is in the replica. */
  onFrame(header: SessionHeader, received: number): void;
  /** The other side has another build, so the page needs a reload. */
  onOldBuild(): void;
  /** The session has answered before, and does not answer now. */
  onSilence(): void;
  /** A frame was rejected. */
  onFrameError(error: FrameError): void;
}

export interface ChannelOptions {
  readonly replica: Replica;
  readonly clock: Clock;
  readonly build: string;
  /** Pass a base64 frame to the session. Streamlit may drop it. */
  readonly send: (frame: string) => void;
  readonly status: StatusSource;
  readonly textDrafts?: TextDraftSource;
  readonly formDrafts?: FormDraftSource;
  readonly listener: ChannelListener;
}

export class Channel {
  private readonly outbox: Outbox;
  private readonly poll: Interval;
  private readonly statusTimer: Timer;
  private readonly confirmTimer: Timer;
  private readonly wakeTimer: Timer;
  private readonly openTimer: Timer;
  private readonly errors = new ErrorQueue();
  private readonly incoming = new IncomingTransfer();
  private outgoing: OutgoingTransfer | null = null;
  private acks: AckState | null = null;
  /** Of the last frame of the session. */
  private partBytes = 0;
  private isSessionInRoom = false;
  private isSyncing = false;
  private isUpdateHeld = false;
  private isVisible = true;
  private status: Status = "connecting";
  private isSynced = false;
  private sentStatus: string | null = null;
  private poll_s: number | null = null;
  private confirmed: number | null = null;
  private frameCount = 0;
  /** Session that does not have this tab's document, and must not get it, because the room was rewritten. */
  private stranger: number | null = null;

  constructor(private readonly options: ChannelOptions) {
    const { clock, replica } = options;
    this.statusTimer = new Timer(clock);
    this.confirmTimer = new Timer(clock);
    this.wakeTimer = new Timer(clock);
    this.openTimer = new Timer(clock);
    const sender: FrameSender = {
      transmit: (why) => this.transmit(why),
      onSilence: () => {
        options.listener.onSilence();
      },
    };
    this.outbox = new Outbox(clock, sender);
    this.poll = new Interval(clock, () => {
      this.outbox.request("poll");
    });
    replica.onChange = (wakes) => {
      if (wakes && this.isSyncing) {
        this.isUpdateHeld = true;
      } else if (wakes) {
        this.outbox.request("update");
      }
    };
  }

  /** Send a hello after Streamlit has finished mounting the component. */
  open(): void {
    this.outbox.request("hello");
    this.openTimer.start(0, () => {
      this.resume();
    });
  }

  /** Decode and apply a session's frame, then process its acknowledgement and its requests. */
  receive(bytes: Uint8Array): void {
    let frame: SessionFrame;
    try {
      frame = decodeFrame(bytes);
    } catch (error) {
      this.reject(error);
      this.reportOldBuild();
      return;
    }
    try {
      this.apply(frame);
    } catch (error) {
      this.reject(error);
    }
  }

  setStatus(status: Status, isSynced: boolean): void {
    if (status === this.status && isSynced === this.isSynced) {
      return;
    }
    this.status = status;
    this.isSynced = isSynced;
    this.schedulePoll();
    this.statusTimer.start(STATUS_COALESCE_MS, () => {
      this.sendStatus();
    });
  }

  /** Hold changes back while a connection brings the room: the document is incomplete. */
  setSyncing(isSyncing: boolean): void {
    this.isSyncing = isSyncing;
    if (!isSyncing && this.isUpdateHeld) {
      this.isUpdateHeld = false;
      this.outbox.request("update");
    }
  }

  /** Report an error to the session, once per error code. */
  report(error: TabError): void {
    if (this.errors.add(error)) {
      this.outbox.request("status");
    }
  }

  /** Request a frame: for a new token, or because saved edits, drafts in forms or overwritten commits have changed. */
  request(why: "token" | "saved" | "form" | "draft"): void {
    this.outbox.request(why);
  }

  setVisible(isVisible: boolean): void {
    const becameVisible = isVisible && !this.isVisible;
    this.isVisible = isVisible;
    this.schedulePoll();
    if (becameVisible && this.poll.isRunning) {
      this.outbox.request("poll");
    }
  }

  /** Send nothing until `resume()`. The browser unloads or freezes the page, or another epoch of the room has begun. */
  pause(): void {
    this.outbox.close();
    this.poll.stop();
    this.openTimer.cancel();
    this.statusTimer.cancel();
    this.confirmTimer.cancel();
    this.wakeTimer.cancel();
  }

  resume(): void {
    this.outbox.open();
    this.schedulePoll();
    this.sendStatus();
  }

  private apply({ header, update }: SessionFrame): void {
    const { replica, build, status, listener } = this.options;
    if (!status.accepts(header)) {
      if (status.isRewritten === true) {
        this.reportRewritten(header);
      } else {
        this.pause();
      }
      return;
    }
    replica.own = new Set(header.own);
    this.partBytes = header.part_bytes;
    this.isSessionInRoom = header.in_room && !header.deleted;
    const whole = this.complete(header, update);
    if (whole !== null && whole.length > 0) {
      replica.applyFromChannel(whole);
    }
    if (header.build !== build) {
      this.reportOldBuild();
    }
    const acks = this.acknowledge(header, whole !== null);
    const hasLargeUpdate = update.length > ACK_FROM_BYTES && acks.received > acks.receivedAtLastFrame;
    if (header.wake_s !== undefined) {
      this.wakeTimer.start(header.wake_s * 1_000, () => {
        this.outbox.request("settle");
      });
    }
    if (header.settle || hasLargeUpdate || header.part !== undefined) {
      this.outbox.request("settle");
    }
    this.scheduleConfirm(header.confirm);
    this.poll_s = header.poll_s;
    this.schedulePoll();
    listener.onFrame(header, acks.received);
  }

  /** Send nothing but the report that the room was rewritten, until the session replaces this tab. */
  private reportRewritten(header: SessionHeader): void {
    const isNew = header.id !== (this.stranger ?? this.acks?.sessionId);
    if (isNew) {
      this.stranger = header.id;
      this.outbox.drop();
      this.errors.repeat("rewritten");
      this.outbox.request("status");
      return;
    }
    const acked = header.ack_of === this.options.replica.id ? header.ack : null;
    if (this.outbox.acknowledge(acked) && this.errors.acknowledge()) {
      this.outbox.request("status");
    }
  }

  /** Return the update of a frame, null while parts of it are missing. It is empty if it was received before. */
  private complete(header: SessionHeader, update: Uint8Array): Uint8Array | null {
    const { part } = header;
    if (part === undefined) {
      return update;
    }
    const isRepeated = this.acks?.sessionId === header.id && header.v <= this.acks.received;
    return isRepeated ? new Uint8Array(0) : this.incoming.add(header, part, update);
  }

  private acknowledge(header: SessionHeader, isWhole: boolean): AckState {
    const { replica } = this.options;
    const acks = this.acks?.sessionId === header.id ? this.acks : this.startSession(header.id);
    const acked = acks.update(header, replica.id, replica.version, isWhole);
    replica.acknowledge(acks.acked);
    if (acked !== null) {
      this.continueTransfer(header, acks);
    }
    if (this.outbox.acknowledge(acked) && this.errors.acknowledge()) {
      this.outbox.request("status");
    }
    return acks;
  }

  /** End the transfer that the session has acknowledged, or send its next part. */
  private continueTransfer(header: SessionHeader, acks: AckState): void {
    const { outgoing } = this;
    if (outgoing === null) {
      return;
    }
    if (acks.acked >= outgoing.v) {
      acks.stateVector = outgoing.stateVector;
      this.outgoing = null;
      if (this.options.replica.version > outgoing.v) {
        this.outbox.request("update");
      }
    } else if (outgoing.report(header.got ?? null)) {
      this.outbox.proceed();
    }
  }

  /** Begin with a new session. It has nothing of this tab, whatever a former session had. */
  private startSession(id: number): AckState {
    if (this.acks !== null) {
      this.options.replica.startOver();
      this.options.textDrafts?.forgetCommits();
      this.outbox.drop();
      this.outgoing = null;
      this.outbox.request("hello");
    }
    this.acks = new AckState(id);
    return this.acks;
  }

  private transmit(why: Why): SentVersions {
    const { replica, send } = this.options;
    const acked = this.acks?.acked ?? 0;
    if (replica.version === acked) {
      replica.touch();
    }
    const { update, ...versions } = this.nextUpdate(acked);
    const header = this.header(why, versions, acked);
    this.statusTimer.cancel();
    this.sentStatus = this.statusText();
    if (this.acks !== null) {
      this.acks.receivedAtLastFrame = this.acks.received;
    }
    send(encodeFrame(header, update));
    return header;
  }

  /** Return what the session lacks, or a part of it. An update that the session gets from the room is left out. */
  private nextUpdate(acked: number): FrameUpdate {
    const { replica } = this.options;
    if (this.stranger !== null) {
      return { v: replica.version, since: 0, update: new Uint8Array(0) };
    }
    if (this.isSessionInRoom && this.status === "connected" && replica.cameFromRoomSince(acked)) {
      this.outgoing = null;
      return { v: replica.version, since: acked, in_room: true, update: new Uint8Array(0) };
    }
    if (this.outgoing === null) {
      const { since, update } = replica.deltaSince(acked, this.acks?.stateVector ?? null);
      if (this.acks === null || update.length <= this.partBytes) {
        return { v: replica.version, since, update };
      }
      this.outgoing = new OutgoingTransfer(since, replica.version, replica.stateVector(), update);
    }
    const { since, v } = this.outgoing;
    return { v, since, ...this.outgoing.next(this.partBytes) };
  }

  private header(why: Why, versions: Omit<FrameUpdate, "update">, acked: number): TabHeader {
    const { replica, build, status, textDrafts, formDrafts } = this.options;
    const drafts = textDrafts?.bases() ?? {};
    const overwritten = textDrafts?.overwritten() ?? {};
    const unsubmitted = formDrafts?.unsubmitted() ?? [];
    const got = this.acks === null ? null : this.incoming.progressOf(this.acks.sessionId);
    this.frameCount += 1;
    return {
      id: replica.id,
      ...versions,
      ack_of: this.stranger ?? this.acks?.sessionId ?? null,
      ack: this.stranger === null ? (this.acks?.received ?? 0) : 0,
      ...(got === null ? {} : { got }),
      ...(acked === 0 ? { sv: toBase64(replica.stateVector()) } : {}),
      build,
      why,
      status: this.status,
      synced: this.isSynced && this.stranger === null,
      confirmed: this.confirmed,
      error: this.errors.next(),
      n: this.frameCount,
      ...status.report(),
      ...(Object.keys(drafts).length > 0 ? { drafts } : {}),
      ...(Object.keys(overwritten).length > 0 ? { overwritten } : {}),
      ...(unsubmitted.length > 0 ? { unsubmitted } : {}),
    };
  }

  /** Confirm a remote write after a quiet time. Each newer frame restarts or ends the wait. */
  private scheduleConfirm(write: number | null): void {
    this.confirmTimer.cancel();
    if (write !== null && write !== this.confirmed) {
      this.confirmTimer.start(CONFIRM_QUIET_MS, () => {
        this.confirmed = write;
        this.outbox.request("confirm");
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

  private sendStatus(): void {
    if (this.sentStatus !== null && this.sentStatus !== this.statusText()) {
      this.outbox.request("status");
    }
  }

  private reportOldBuild(): void {
    this.report("old-build");
    this.options.listener.onOldBuild();
  }

  private reject(error: unknown): void {
    if (!(error instanceof FrameError)) {
      throw error;
    }
    this.options.listener.onFrameError(error);
  }

  private statusText(): string {
    return `${this.status} ${this.isSynced}`;
  }
}

/** Update of a frame, and the header fields about it. */
interface FrameUpdate {
  readonly v: number;
  readonly since: number;
  readonly part?: PartRange;
  readonly in_room?: true;
  readonly update: Uint8Array;
}

/** Acknowledgements between the tab and one session. */
class AckState {
  /** Version of the tab that the session has acknowledged. */
  acked = 0;
  /** Version of the session up to which the tab has applied everything. */
  received = 0;
  /** Value of `received` in the last frame that the tab sent. */
  receivedAtLastFrame = 0;
  stateVector: Uint8Array | null = null;

  constructor(readonly sessionId: number) {}

  /**
   * Process a header after its update was applied. Returns the acknowledged version of the tab, null if the session does not
   * know `tabId`. `isWhole`: the header's update is complete. Throws `FrameError`.
   */
  update(header: SessionHeader, tabId: number, tabVersion: number, isWhole: boolean): number | null {
    if (isWhole && header.since <= this.received) {
      this.received = Math.max(this.received, header.v);
    }
    if (header.sv !== undefined) {
      this.stateVector = decodeStateVector(header.sv);
    }
    const acked = header.ack_of === tabId ? Math.min(header.ack, tabVersion) : null;
    this.acked = acked ?? 0;
    return acked;
  }
}

/** Error codes for the session: each one once, one per frame, repeated until that frame is acknowledged. */
class ErrorQueue {
  private readonly pending: TabError[] = [];
  private readonly known = new Set<TabError>();
  private sent: TabError | null = null;

  /** Returns false if the code was added before. */
  add(error: TabError): boolean {
    if (this.known.has(error)) {
      return false;
    }
    this.known.add(error);
    this.pending.push(error);
    return true;
  }

  /** Report the code once more, and first. */
  repeat(error: TabError): void {
    this.sent = null;
    this.known.add(error);
    this.pending.splice(0, this.pending.length, error);
  }

  /** Return the code for the frame that is being sent. */
  next(): TabError | null {
    this.sent = this.pending[0] ?? null;
    return this.sent;
  }

  /** The last frame was acknowledged. Returns whether more codes are pending. */
  acknowledge(): boolean {
    if (this.sent !== null) {
      this.pending.shift();
      this.sent = null;
    }
    return this.pending.length > 0;
  }
}
