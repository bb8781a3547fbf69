/**
 * How a tab stands with the room server: let in by which token, as what, in which history, and what of its edits is saved.
 *
 * The parts know nothing of each other: `TabToken` and `UnsavedEdits` are asked here, the socket is told here, and what comes of it
 * goes three ways: into each frame to the session, to the badges of this page, and into the question before leaving.
 */
import type { Transaction } from "yjs";

import type { Clock } from "./clock";
import { changedKeys, describeKey, mayContainEditsOf } from "./document/changes";
import { CHANNEL_ORIGIN } from "./document/replica";
import type { Replica } from "./document/replica";
import { UnloadGuard } from "./page/lifecycle";
import { setStatus } from "./page/status-store";
import type { StatusState } from "./page/status-store";
import { isEpoch } from "./transport/frame";
import type { Role, SessionHeader, Status, StatusReport } from "./transport/frame";
import type { SavedAnswer } from "./transport/protocol";
import { TabToken } from "./transport/tab-token";
import { SessionUnsavedEdits, UnsavedEdits } from "./transport/unsaved-edits";

export interface RoomStatusOptions {
  readonly replica: Replica;
  readonly clock: Clock;
  readonly page: Pick<Window, "addEventListener" | "removeEventListener">;
  /** Ask the channel for a frame to the session. */
  readonly want: (why: "token" | "saved") => void;
  /** The token or the epoch is another one now. */
  readonly onAccess: () => void;
  /** The room was deleted; `unsaved` describes what this tab had not saved. Called once. */
  readonly onEnded: (unsaved: readonly string[]) => void;
}

export class RoomStatus {
  readonly saved: UnsavedEdits;
  private readonly edits: SessionUnsavedEdits;
  private readonly tokens: TabToken;
  private readonly warning: UnloadGuard;
  private known: string | null = null;
  private header: SessionHeader | null = null;
  private status: Status = "connecting";
  private isDenied = false;
  private isFull = false;
  private hasEnded = false;
  private mayLeave = false;
  private toldSaved = "0 false";

  constructor(private readonly options: RoomStatusOptions) {
    this.saved = new UnsavedEdits(options.clock, () => {
      this.tell();
    });
    this.edits = new SessionUnsavedEdits(() => {
      options.want("saved");
    });
    this.tokens = new TabToken(
      options.clock,
      () => {
        options.want("token");
      },
      options.onAccess,
    );
    this.warning = new UnloadGuard(options.page);
    options.replica.doc.on("update", this.note);
  }

  get token(): string | null {
    return this.tokens.text;
  }

  get role(): Role {
    return this.header?.role ?? "editor";
  }

  /** Of the history in this tab; null if it is not known. */
  get epoch(): string | null {
    return this.known;
  }

  get isEnded(): boolean {
    return this.hasEnded;
  }

  /** Whether a session's frame may be applied: two histories are never merged. */
  admits(header: SessionHeader): boolean {
    if (this.hasEnded) {
      return this.isOfEnded(header);
    }
    if (this.isAnother(header.epoch)) {
      this.end();
      return false;
    }
    this.header = header;
    return true;
  }

  /** Take over what an admitted frame says, once its update is applied. */
  follow(header: SessionHeader, seen: number): void {
    if (header.deleted) {
      this.end();
    }
    this.learn(header.epoch);
    this.saved.noteSession(header.id, seen);
    if (this.edits.follow(header)) {
      this.saved.check();
    }
    this.tokens.take(header.token, header.token_expires_in_s);
    this.tell();
  }

  report(): StatusReport {
    this.toldSaved = this.savedWord();
    return {
      saved_v: this.saved.sessionVersion,
      unsaved: this.isViewer ? 0 : this.saved.unsaved,
      failing: this.saved.failing,
      epoch: this.known,
      level: this.saved.level,
    };
  }

  /** The part of the socket's news that concerns nobody else. */
  readonly listener = {
    onOpen: (ask: (version: number) => void): void => {
      this.saved.open(ask);
    },
    onClose: (wasRefused: boolean): void => {
      this.closed(wasRefused);
    },
    onSaved: (answer: SavedAnswer): void => {
      this.answered(answer);
    },
    onEnded: (): void => {
      this.end();
    },
    onFull: (): void => {
      this.isFull = true;
      this.tell();
    },
  };

  setStatus(status: Status): void {
    this.status = status;
    if (status !== "offline") {
      this.isFull = false;
    }
    if (status === "connected") {
      this.tokens.admitted();
    }
    this.tell();
  }

  denied(): void {
    this.isDenied = true;
    this.saved.deny();
  }

  private answered(answer: SavedAnswer): void {
    const epoch = answer.level === 2 && isEpoch(answer.epoch) ? answer.epoch : null;
    if (this.isAnother(epoch)) {
      this.end();
      return;
    }
    this.saved.answer(answer);
    this.learn(epoch);
    if (answer.outcome === "refused" && !this.isDenied) {
      this.denied();
    }
  }

  /** The connection is gone; `wasRefused`: for want of a token that opens the room, as far as one can tell. */
  private closed(wasRefused: boolean): void {
    this.isDenied = false;
    this.saved.close();
    if (wasRefused) {
      this.tokens.refused();
    }
  }

  /** The room was deleted and begun anew: what is here stays here. */
  end(): void {
    if (!this.hasEnded) {
      this.hasEnded = true;
      const { doc } = this.options.replica;
      const unsaved = this.isViewer ? [] : this.saved.unsavedKeys;
      this.options.onEnded(unsaved.map((key) => describeKey(doc, key)));
      this.tell();
    }
  }

  /** The person has seen what is lost and leaves the page. */
  letGo(): void {
    this.mayLeave = true;
    this.tell();
  }

  destroy(): void {
    this.options.replica.doc.off("update", this.note);
    this.saved.close();
    this.tokens.stop();
    this.warning.set(false);
    if (this.header !== null) {
      setStatus(this.header.room, null);
    }
  }

  /**
   * What came by the socket is the server's already, except for the edits of this tab's session that took the way through
   * the process: others get an update before it is committed. A session's own way makes its frames no concern of ours.
   */
  private readonly note = (
    _update: Uint8Array,
    origin: unknown,
    _doc: unknown,
    transaction: Transaction,
  ): void => {
    const { replica } = this.options;
    const isFrame = origin === CHANNEL_ORIGIN;
    const cameBySocket = !isFrame && !transaction.local;
    const isOfSession = mayContainEditsOf(transaction, replica.own);
    if (isOfSession) {
      this.edits.show();
    }
    const isOurs = isFrame
      ? this.header?.wants_saved === true
      : !cameBySocket || replica.includesPending || isOfSession;
    if (isOurs) {
      this.saved.note(changedKeys(transaction));
    }
  };

  private get isViewer(): boolean {
    return this.isDenied || this.role === "viewer";
  }

  /** Whether a frame is of the very history that has ended; a session that goes on alone with it names no other. */
  private isOfEnded(header: SessionHeader): boolean {
    const isOurs = header.epoch === this.known || (header.deleted && this.known === null);
    if (isOurs) {
      this.header = header;
    }
    return isOurs;
  }

  private isAnother(epoch: string | null): boolean {
    return epoch !== null && this.known !== null && epoch !== this.known;
  }

  /**
   * Rooms in memory are begun anew whenever their server is, and nobody deleted them: the tabs bring them back, so that
   * their epoch is nothing to hold on to.
   */
  private learn(epoch: string | null): void {
    const known = this.saved.level === 1 ? null : (this.known ?? epoch);
    if (known !== this.known) {
      this.known = known;
      this.options.onAccess();
    }
  }

  private tell(): void {
    if (this.saved.isChecked) {
      this.edits.settle();
    }
    const state = this.live();
    if (this.header !== null) {
      setStatus(this.header.room, state);
    }
    const cannotTell = state.isSilent && state.status === "connected";
    this.warning.set(state.unsaved > 0 && !cannotTell && !this.mayLeave);
    if (this.header?.wants_saved === true && this.isWorthTelling()) {
      this.options.want("saved");
    }
  }

  private live(): StatusState {
    const { saved } = this;
    return {
      status: this.hasEnded ? "offline" : this.status,
      level: saved.level,
      unsaved: this.isViewer ? 0 : saved.unsaved,
      isFailing: saved.failing,
      isSilent: saved.isSilent,
      isViewer: this.isViewer,
      isEnded: this.hasEnded,
      isFull: this.isFull,
      unsavedBySession: this.unsavedBySession,
      refusedBySession: this.header?.refused_edits ?? 0,
    };
  }

  /** Offline it is the session's word alone, renewed with each poll. */
  private get unsavedBySession(): number | null {
    const { header, status } = this;
    if (header === null || header.wants_saved) {
      return null;
    }
    if (status === "connected") {
      return this.edits.unsaved;
    }
    return header.poll_s === null ? null : header.unsaved;
  }

  /** A frame costs a run: only once nothing is missing any more, or when the store begins or ceases to fail. */
  private isWorthTelling(): boolean {
    return this.savedWord() !== this.toldSaved && (this.saved.failing || this.saved.isSettled);
  }

  private savedWord(): string {
    return `${this.saved.sessionVersion} ${this.saved.failing}`;
  }
}
