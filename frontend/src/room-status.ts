/**
 * Status of a tab in its room: role, token, epoch, and unsaved edits.
 *
 * It updates `TabToken` and `UnsavedEdits` from the session's frames and the socket's events. Each frame to the session
 * reports the status, the badges of the page show it, and it decides whether the browser asks before unloading the page.
 */
import type { Transaction } from "yjs";

import type { Clock } from "./clock";
import { changedKeys, describeKey, mayContainEditsOf } from "./document/changes";
import { CHANNEL_ORIGIN } from "./document/replica";
import type { Replica } from "./document/replica";
import { UnloadGuard } from "./page/lifecycle";
import { setStatus } from "./page/status-store";
import type { StatusState } from "./page/status-store";
import type { StatusSource } from "./transport/channel";
import { isEpoch } from "./transport/frame";
import type { Role, SessionHeader, Status, StatusReport } from "./transport/frame";
import type { SavedAnswer } from "./transport/protocol";
import type { Access, ConnectionListener } from "./transport/room-socket";
import { TabToken } from "./transport/tab-token";
import { SessionUnsavedEdits, UnsavedEdits } from "./transport/unsaved-edits";
import type { SendQuery } from "./transport/unsaved-edits";

export interface RoomStatusListener {
  /** A frame to the session is needed: for a new token, or because the saved edits have changed. */
  requestFrame(why: "token" | "saved"): void;
  /** The token or the epoch has changed. */
  onAccessChange(access: Access): void;
  /** The room was deleted. `unsaved` describes the edits of this tab that are lost. Called once. */
  onRoomDeleted(unsaved: readonly string[]): void;
  /** The room was rewritten, and this tab has its former document. */
  onRoomRewritten(): void;
  /** The room was rewritten. `unsaved` describes the edits of former sessions, which no session carries over. */
  onEditsLost(unsaved: readonly string[]): void;
}

export class RoomStatus implements StatusSource, ConnectionListener {
  private readonly unsaved: UnsavedEdits;
  private readonly sessionUnsaved: SessionUnsavedEdits;
  private readonly tabToken: TabToken;
  private readonly unloadGuard: UnloadGuard;
  private currentEpoch: string | null = null;
  private kept: number | null = null;
  private reportedTo: number | null = null;
  private header: SessionHeader | null = null;
  private status: Status = "connecting";
  private isDenied = false;
  private isFull = false;
  private isEnded = false;
  private isUnloadAllowed = false;
  private reportedSaved = "0 false";

  constructor(
    private readonly replica: Replica,
    clock: Clock,
    page: Pick<Window, "addEventListener" | "removeEventListener">,
    private readonly listener: RoomStatusListener,
  ) {
    this.unsaved = new UnsavedEdits(clock, () => {
      this.publish();
    });
    this.sessionUnsaved = new SessionUnsavedEdits(() => {
      listener.requestFrame("saved");
    });
    this.tabToken = new TabToken(
      clock,
      () => {
        listener.requestFrame("token");
      },
      () => {
        listener.onAccessChange(this);
      },
    );
    this.unloadGuard = new UnloadGuard(page);
    replica.doc.on("update", this.onUpdate);
  }

  get token(): string | null {
    return this.tabToken.text;
  }

  get role(): Role {
    return this.header?.role ?? "editor";
  }

  /** Epoch of the document in this tab; null if it is unknown. */
  get epoch(): string | null {
    return this.currentEpoch;
  }

  /** Return whether to apply a session's frame. Documents of two epochs are never merged. */
  accepts(header: SessionHeader): boolean {
    if (this.kept !== null) {
      this.meetRewritten(header.id);
      return false;
    }
    if (this.isEnded) {
      return this.acceptsEnded(header);
    }
    if (this.isOtherEpoch(header.epoch)) {
      this.onEpochEnded();
      return false;
    }
    this.header = header;
    return true;
  }

  /** Process an accepted frame after its update was applied; `received`: version of the session in the replica. */
  update(header: SessionHeader, received: number): void {
    if (header.deleted) {
      this.onEpochEnded();
    }
    this.adoptEpoch(header.epoch);
    this.unsaved.receiveFrom(header.id, received);
    if (this.sessionUnsaved.update(header)) {
      this.unsaved.check();
    }
    this.tabToken.update(header.token, header.token_expires_in_s);
    this.publish();
  }

  report(): StatusReport {
    this.reportedSaved = this.savedText();
    return {
      saved_v: this.unsaved.savedSessionVersion,
      unsaved: this.unsavedCount,
      failing: this.unsaved.isFailing,
      epoch: this.currentEpoch,
      level: this.unsaved.level,
      ...(this.kept === null ? {} : { kept: this.kept }),
    };
  }

  setStatus(status: Status): void {
    this.status = status;
    if (status !== "offline") {
      this.isFull = false;
    }
    if (status === "connected") {
      this.tabToken.onAdmitted();
    }
    this.publish();
  }

  onOpen(send: SendQuery): void {
    this.unsaved.open(send);
  }

  onClose(wasRejected: boolean): void {
    this.isDenied = false;
    this.unsaved.close();
    if (wasRejected) {
      this.tabToken.onRejected();
    }
  }

  onSaved(answer: SavedAnswer): void {
    const epoch = answer.level === 2 && isEpoch(answer.epoch) ? answer.epoch : null;
    if (this.isOtherEpoch(epoch)) {
      this.onEpochEnded();
      return;
    }
    this.unsaved.receive(answer);
    this.adoptEpoch(epoch);
    if (answer.status === "rejected" && !this.isDenied) {
      this.onDenied();
    }
  }

  onDenied(): void {
    this.isDenied = true;
    this.unsaved.deny();
  }

  /** The room was deleted, and another epoch may have begun. The document stays in this tab. */
  onEpochEnded(): void {
    if (!this.isEnded) {
      this.isEnded = true;
      const keys = this.isViewer ? [] : this.unsaved.keys;
      this.listener.onRoomDeleted(keys.map((key) => describeKey(this.replica.doc, key)));
      this.publish();
    }
  }

  /** The room was rewritten while nobody was in it. The session repeats its unsaved edits, and replaces this tab. */
  onRewritten(kept: number): void {
    this.kept = kept;
    this.unloadGuard.set(false);
    this.reportLost(this.unsaved.orphanedKeys);
    this.listener.onRoomRewritten();
  }

  get isRewritten(): boolean {
    return this.kept !== null;
  }

  /** A frame has arrived after the room was rewritten. A new session repeats no edit of this tab. */
  private meetRewritten(session: number): void {
    if (this.reportedTo !== session) {
      this.reportedTo = session;
      if (session !== this.header?.id) {
        this.kept = 0;
        this.reportLost(this.unsaved.keys);
      }
    }
  }

  private reportLost(keys: readonly string[]): void {
    if (keys.length > 0 && !this.isViewer) {
      this.listener.onEditsLost(keys.map((key) => describeKey(this.replica.doc, key)));
    }
  }

  onRoomFull(): void {
    this.isFull = true;
    this.publish();
  }

  /** Unload the page without a question: the notice has listed the unsaved edits. */
  allowUnload(): void {
    this.isUnloadAllowed = true;
    this.publish();
  }

  destroy(): void {
    this.replica.doc.off("update", this.onUpdate);
    this.unsaved.close();
    this.tabToken.stop();
    this.unloadGuard.set(false);
    if (this.header !== null) {
      setStatus(this.header.room, null);
    }
  }

  /**
   * Count an update as unsaved if this tab has to bring it to the server.
   *
   * The server has every update that arrived by the socket. The exception are edits of this tab's session that it wrote
   * through its local connection: the room sends an update to others before it commits it. A frame of a session with a local
   * connection does not count.
   */
  private readonly onUpdate = (
    _update: Uint8Array,
    origin: unknown,
    _doc: unknown,
    transaction: Transaction,
  ): void => {
    const { replica } = this;
    const isFrame = origin === CHANNEL_ORIGIN;
    const cameBySocket = !isFrame && !transaction.local;
    const mayBeOfSession = mayContainEditsOf(transaction, replica.own);
    if (mayBeOfSession) {
      this.sessionUnsaved.onEdit();
    }
    const isUnsaved = isFrame
      ? this.header?.wants_saved === true
      : !cameBySocket || replica.includesPending || mayBeOfSession;
    if (isUnsaved) {
      this.unsaved.add(changedKeys(transaction));
    }
  };

  private get isViewer(): boolean {
    return this.isDenied || this.role === "viewer";
  }

  private get unsavedCount(): number {
    return this.isViewer ? 0 : this.unsaved.count;
  }

  /** Accept frames of the ended epoch only. A session that continues alone with it states no other epoch. */
  private acceptsEnded(header: SessionHeader): boolean {
    const isSameEpoch = header.epoch === this.currentEpoch || (header.deleted && this.currentEpoch === null);
    if (isSameEpoch) {
      this.header = header;
    }
    return isSameEpoch;
  }

  private isOtherEpoch(epoch: string | null): boolean {
    return epoch !== null && this.currentEpoch !== null && epoch !== this.currentEpoch;
  }

  /**
   * Keep the first epoch that a frame or an answer states. A server that stores rooms in memory begins a new epoch at each
   * restart, although nothing was deleted, and the tabs restore the room. There the epoch is dropped.
   */
  private adoptEpoch(epoch: string | null): void {
    const adopted = this.unsaved.level === 1 ? null : (this.currentEpoch ?? epoch);
    if (adopted !== this.currentEpoch) {
      this.currentEpoch = adopted;
      this.listener.onAccessChange(this);
    }
  }

  /** Update the badges, the unload guard and, if it needs to know, the session. */
  private publish(): void {
    if (this.unsaved.isChecked) {
      this.sessionUnsaved.onAllSaved();
    }
    const state = this.state();
    if (this.header !== null) {
      setStatus(this.header.room, state);
    }
    const isUnknown = state.isSilent && state.status === "connected";
    this.unloadGuard.set(state.unsaved > 0 && !isUnknown && !this.isUnloadAllowed);
    if (this.header?.wants_saved === true && this.needsReport()) {
      this.listener.requestFrame("saved");
    }
  }

  private state(): StatusState {
    return {
      status: this.isEnded ? "offline" : this.status,
      level: this.unsaved.level,
      unsaved: this.unsavedCount,
      isFailing: this.unsaved.isFailing,
      isSilent: this.unsaved.isSilent,
      isViewer: this.isViewer,
      isEnded: this.isEnded,
      isFull: this.isFull,
      unsavedBySession: this.unsavedBySession,
      refusedBySession: this.header?.refused_edits ?? 0,
    };
  }

  /** Unsaved edits of the local connection. Offline only the session reports them, and renews the report with each poll. */
  private get unsavedBySession(): number | null {
    const { header, status } = this;
    if (header === null || header.wants_saved) {
      return null;
    }
    if (status === "connected") {
      return this.sessionUnsaved.count;
    }
    return header.poll_s === null ? null : header.unsaved;
  }

  /** A frame costs a script run: report only that everything is saved, and that the store begins or stops to fail. */
  private needsReport(): boolean {
    const isReportable = this.unsaved.isFailing || this.unsaved.isAllSaved;
    return this.savedText() !== this.reportedSaved && isReportable;
  }

  private savedText(): string {
    return `${this.unsaved.savedSessionVersion} ${this.unsaved.isFailing}`;
  }
}
