/**
 * The updates that the session may lack, kept until it acknowledges them.
 *
 * A frame carries the merge of these rather than a diff against a state vector, because a diff holds the whole delete set
 * of the document (R7), and because a deletion does not move the state vector (R3).
 */
import * as Y from "yjs";

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
