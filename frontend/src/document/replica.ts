/** A tab's replica of the room's document, and the log of updates that its session has not acknowledged. */
import * as Y from "yjs";

import { FrameError } from "../errors";
import { concernsSession } from "./changes";

/** Origin of every transaction that applies a session's frame. */
export const CHANNEL_ORIGIN = Symbol("streamlit-crdt channel");

/** Length in bytes of an update without structs and deletions. */
const EMPTY_UPDATE_BYTES = 2;
/** Entries of the log. More are merged into one, so that an unresponsive session costs only the bytes of its updates. */
const MAX_LOG_ENTRIES = 128;
/** Bytes of the log. More are dropped: the next frame carries the document itself, which is smaller by then. */
const MAX_LOG_BYTES = 1024 * 1024;

/** Update with everything after version `since`. */
export interface Delta {
  readonly since: number;
  readonly update: Uint8Array;
}

/**
 * Yjs document of one tab. Its version counts the changes that the session has to receive.
 *
 * The transaction's *origin* is the only echo suppressor (R6). An update from the channel is not logged for the channel. The
 * provider does not send an update from the socket back to the socket.
 */
export class Replica {
  readonly doc: Y.Doc;
  /** Replica ids of this tab's own session. Their edits do not wake it. */
  own: ReadonlySet<number> = new Set();
  /** Called after each change that the session may lack. `wakes`: send a frame now. */
  onChange: ((wakes: boolean) => void) | null = null;
  private readonly log = new UpdateLog();
  private currentVersion = 0;
  /** Last version whose change did not come from the room. */
  private ownVersion = 0;
  private hadPending = false;

  constructor(id: number = randomId()) {
    this.doc = new Y.Doc();
    this.doc.clientID = id;
    this.doc.on("beforeTransaction", this.notePending);
    this.doc.on("update", this.record);
  }

  get id(): number {
    return this.doc.clientID;
  }

  get version(): number {
    return this.currentVersion;
  }

  /**
   * True while the current "update" event may include structs that were pending. They may have arrived by another hop than
   * the transaction's origin, so the update is sent on every hop. Otherwise the hop of the origin would never receive them.
   */
  get includesPending(): boolean {
    return this.hadPending;
  }

  /** Merge a session's update. Throws `FrameError` and leaves the replica unchanged if it does not decode. */
  applyFromChannel(update: Uint8Array): void {
    try {
      // Decode completely first: a failed apply integrates the structs and drops the deletions.
      Y.decodeUpdate(update);
      Y.applyUpdate(this.doc, update, CHANNEL_ORIGIN);
    } catch (error) {
      throw new FrameError("update", "a Yjs v1 update", { cause: error });
    }
  }

  /** Identity of what pending updates lack; null without pending updates. */
  get gap(): string | null {
    const { pendingStructs, pendingDs } = this.doc.store;
    return pendingStructs === null && pendingDs === null
      ? null
      : `${[...(pendingStructs?.missing ?? [])].join(" ")} ${pendingDs?.length ?? 0}`;
  }

  /** Drop the updates that wait for missing ones if they exceed `maxBytes`. Returns whether it has dropped them. */
  dropPending(maxBytes: number): boolean {
    const { store } = this.doc;
    const byteCount = (store.pendingStructs?.update.length ?? 0) + (store.pendingDs?.length ?? 0);
    if (byteCount <= maxBytes) {
      return false;
    }
    store.pendingStructs = null;
    store.pendingDs = null;
    return true;
  }

  /** Increase the version for a change outside the document, such as a new status. */
  touch(): void {
    this.currentVersion += 1;
  }

  /** Drop what the session has received: everything up to `version`. */
  acknowledge(version: number): void {
    this.log.drop(Math.min(version, this.currentVersion));
  }

  /** Prepare for a new session: assume nothing about its state, so that the next delta is complete. */
  startOver(): void {
    this.touch();
    this.ownVersion = this.currentVersion;
    this.log.restart(this.currentVersion);
  }

  /**
   * Return everything after version `acked` (R3). Where the log does not reach back that far: everything that the peer's
   * state vector lacks, or the whole document without a state vector.
   */
  deltaSince(acked: number, peerStateVector: Uint8Array | null): Delta {
    const isInLog = acked >= this.log.since;
    if (isInLog && (acked > 0 || peerStateVector === null)) {
      return { since: this.log.since, update: this.log.merged() };
    }
    return { since: 0, update: this.diff(peerStateVector) };
  }

  /** Return whether every change after `version` came from the room. */
  cameFromRoomSince(version: number): boolean {
    return version >= this.ownVersion;
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

  private readonly notePending = (): void => {
    const { pendingStructs, pendingDs } = this.doc.store;
    this.hadPending = pendingStructs !== null || pendingDs !== null;
  };

  private readonly record = (
    update: Uint8Array,
    origin: unknown,
    _doc: Y.Doc,
    transaction: Y.Transaction,
  ): void => {
    if (origin === CHANNEL_ORIGIN && !this.hadPending) {
      return;
    }
    this.currentVersion += 1;
    if (origin === CHANNEL_ORIGIN || transaction.local || this.hadPending) {
      this.ownVersion = this.currentVersion;
    }
    this.log.append(this.currentVersion, update);
    this.onChange?.(concernsSession(transaction, this.own));
  };
}

/** Update of the versions after `from`, up to and including `to`. */
interface LogEntry {
  readonly from: number;
  readonly to: number;
  readonly update: Uint8Array;
}

/**
 * Updates that the session may lack, until it acknowledges them.
 *
 * A frame carries the merge of these, not a diff against a state vector: a diff contains the delete set of the whole
 * document (R7), and a deletion does not advance the state vector (R3).
 */
class UpdateLog {
  private entries: LogEntry[] = [];
  private byteCount = 0;
  private start = 0;

  /** The log contains everything after this version. */
  get since(): number {
    return this.start;
  }

  append(version: number, update: Uint8Array): void {
    this.entries.push({ from: version - 1, to: version, update });
    this.byteCount += update.length;
    if (this.entries.length > MAX_LOG_ENTRIES || this.byteCount > MAX_LOG_BYTES) {
      this.compact();
    }
  }

  /** Drop the entries up to `version`. An entry that extends beyond it stays whole. */
  drop(version: number): void {
    let first = this.entries[0];
    while (first !== undefined && first.to <= version) {
      this.byteCount -= first.update.length;
      this.entries.shift();
      first = this.entries[0];
    }
    this.start = Math.max(this.start, Math.min(version, first?.from ?? version));
  }

  /** Drop all entries, and begin after `version`. */
  restart(version: number): void {
    this.entries = [];
    this.byteCount = 0;
    this.start = version;
  }

  /** Return all entries as one update, empty if there are none. */
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
    if (update.length > MAX_LOG_BYTES) {
      this.restart(last.to);
      return;
    }
    this.entries = [{ from: first.from, to: last.to, update }];
    this.byteCount = update.length;
  }
}

/** Return 53 random bits, the limit of Yjs and pycrdt. A repeated id with other content would break convergence. */
function randomId(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high % 2 ** 21) * 2 ** 32 + low;
}
