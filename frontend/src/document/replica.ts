/**
 * One tab's replica: a Y.Doc, and what of it the session has yet to hear.
 *
 * The transaction's *origin* is the only echo suppressor (R6): what came by the channel is not logged for the channel,
 * what came by the socket is not sent to the socket (the provider sees to that).
 */
import * as Y from "yjs";

import { FrameError } from "../errors";
import { concernsSession } from "./changes";

/** Origin of every transaction that applies a session's frame. */
export const CHANNEL_ORIGIN = Symbol("streamlit-crdt channel");

/** What an update without structs and deletions looks like. */
const EMPTY_UPDATE_BYTES = 2;

export interface Delta {
  readonly since: number;
  readonly update: Uint8Array;
}

export class Replica {
  readonly doc: Y.Doc;
  /** Replica ids whose edits come from this tab's own session: they need not wake it. */
  own: ReadonlySet<number> = new Set();
  /** Called after each change that the session may lack; `wakes` says whether it should be told now. */
  onChange: ((wakes: boolean) => void) | null = null;
  private readonly log = new UpdateLog();
  private current = 0;
  private wasPending = false;

  constructor(id: number = randomId()) {
    this.doc = new Y.Doc();
    this.doc.clientID = id;
    this.doc.on("beforeTransaction", this.rememberPending);
    this.doc.on("update", this.record);
  }

  get id(): number {
    return this.doc.clientID;
  }

  /** Grows by one with everything that the session has yet to hear. */
  get version(): number {
    return this.current;
  }

  /**
   * True while an update is announced that may hold structs from another hop than its origin's: they had been waiting for
   * what this transaction brought. Such an update goes on by every door, or the one it did not come by would never see it.
   */
  get unlockedPending(): boolean {
    return this.wasPending;
  }

  /** Merge a session's update. Raises `FrameError` and leaves the replica as it was if it does not decode. */
  applyFromChannel(update: Uint8Array): void {
    try {
      // Read to the end first: applying stops half way, with the structs in and the deletions out.
      Y.decodeUpdate(update);
      Y.applyUpdate(this.doc, update, CHANNEL_ORIGIN);
    } catch (error) {
      throw new FrameError("update", "a Yjs v1 update", { cause: error });
    }
  }

  /** Count something that is not in the document (a changed status) as a thing the session has yet to hear. */
  touch(): void {
    this.current += 1;
  }

  /** The session has everything up to `version`. */
  acknowledge(version: number): void {
    this.log.drop(Math.min(version, this.current));
  }

  /** Another session listens now: nothing that the last one was told, or itself told us, may be assumed of it. */
  startOver(): void {
    this.touch();
    this.log.restart(this.current);
  }

  /**
   * Everything after `acked` (R3). Where the log does not reach back that far, everything that the peer's state vector
   * lacks, or the whole document if that is unknown too.
   */
  deltaSince(acked: number, peerStateVector: Uint8Array | null): Delta {
    const logReachesBack = acked >= this.log.since;
    if (logReachesBack && (acked > 0 || peerStateVector === null)) {
      return { since: this.log.since, update: this.log.merged() };
    }
    return { since: 0, update: this.diff(peerStateVector) };
  }

  stateVector(): Uint8Array {
    return Y.encodeStateVector(this.doc);
  }

  destroy(): void {
    this.onChange = null;
    this.doc.destroy();
  }

  private diff(peerStateVector: Uint8Array | null): Uint8Array {
    const update = Y.encodeStateAsUpdate(this.doc, peerStateVector ?? undefined);
    return update.length === EMPTY_UPDATE_BYTES ? new Uint8Array(0) : update;
  }

  private readonly rememberPending = (): void => {
    const { pendingStructs, pendingDs } = this.doc.store;
    this.wasPending = pendingStructs !== null || pendingDs !== null;
  };

  private readonly record = (
    update: Uint8Array,
    origin: unknown,
    _doc: Y.Doc,
    transaction: Y.Transaction,
  ): void => {
    if (origin === CHANNEL_ORIGIN && !this.wasPending) {
      return;
    }
    this.current += 1;
    this.log.append(this.current, update);
    this.onChange?.(concernsSession(transaction, this.own));
  };
}

/** 53 bits, all that Yjs and pycrdt carry: a repeated id with other content would break convergence. */
function randomId(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high % 2 ** 21) * 2 ** 32 + low;
}

/**
 * The updates that the session may lack, kept until it acknowledges them.
 *
 * A frame carries the merge of these rather than a diff against a state vector, because a diff holds the whole delete set
 * of the document (R7), and because a deletion does not move the state vector (R3).
 */
/** More entries than this are merged into one, so that a silent session costs no more than its bytes. */
const MAX_ENTRIES = 128;

/** More bytes than this are dropped: the next frame carries the document itself, which by then is the smaller thing. */
const MAX_BYTES = 1024 * 1024;

interface Entry {
  /** Holds everything after version `from`, up to and including version `to`. */
  readonly from: number;
  readonly to: number;
  readonly update: Uint8Array;
}

export class UpdateLog {
  private entries: Entry[] = [];
  private byteCount = 0;
  private start = 0;

  /** Everything after this version is held here. */
  get since(): number {
    return this.start;
  }

  append(version: number, update: Uint8Array): void {
    this.entries.push({ from: version - 1, to: version, update });
    this.byteCount += update.length;
    if (this.entries.length > MAX_ENTRIES || this.byteCount > MAX_BYTES) {
      this.compact();
    }
  }

  /** Forget what is acknowledged. An entry that reaches beyond `version` stays whole. */
  drop(version: number): void {
    let first = this.entries[0];
    while (first !== undefined && first.to <= version) {
      this.byteCount -= first.update.length;
      this.entries.shift();
      first = this.entries[0];
    }
    this.start = Math.max(this.start, Math.min(version, first?.from ?? version));
  }

  /** Forget everything: from now on only what comes after `version` is held. */
  restart(version: number): void {
    this.entries = [];
    this.byteCount = 0;
    this.start = version;
  }

  /** One update with all that is held; empty when there is nothing. */
  merged(): Uint8Array {
    const [first, ...others] = this.entries;
    if (first === undefined) {
      return new Uint8Array(0);
    }
    return others.length === 0 ? first.update : Y.mergeUpdates(this.entries.map((entry) => entry.update));
  }

  private compact(): void {
    const first = this.entries[0];
    const last = this.entries.at(-1);
    if (first === undefined || last === undefined) {
      return;
    }
    const update = this.merged();
    if (update.length > MAX_BYTES) {
      this.restart(last.to);
      return;
    }
    this.entries = [{ from: first.from, to: last.to, update }];
    this.byteCount = update.length;
  }
}
