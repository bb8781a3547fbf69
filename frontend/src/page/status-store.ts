/**
 * Status of each room in this page. Tab and badge are separate components and share it here, so that a badge changes without
 * a script run.
 */
import type { Status } from "../transport/frame";
import type { StoreLevel } from "../transport/protocol";

/** Status of a room. All builds in a page share these objects, so their fields keep their names. */
export interface StatusState {
  readonly status: Status;
  readonly level: StoreLevel;
  readonly unsaved: number;
  /** The server's store fails at present. */
  readonly isFailing: boolean;
  /** The server does not report what it has saved. */
  readonly isSilent: boolean;
  readonly isViewer: boolean;
  /** The room was deleted while this tab was in it. */
  readonly isEnded: boolean;
  /** The room is too large to take edits of this tab. */
  readonly isFull: boolean;
  /** Edits of the session's local connection that are not committed. null: the session has no local connection. */
  readonly unsavedBySession: number | null;
  /** Edits of the session that the room rejected. */
  readonly refusedBySession: number;
}

export type StatusListener = (state: StatusState | null) => void;

interface Entry {
  state: StatusState | null;
  readonly listeners: Set<StatusListener>;
}

/** Entry of each room, shared by all builds in this page. */
const ENTRIES: symbol = Symbol.for("streamlit-crdt live rooms");

/** Store the status of `room` and notify its listeners; null: no tab of this page is in the room. */
export function setStatus(room: string, state: StatusState | null): void {
  const entry = entryOf(room);
  entry.state = state;
  for (const listener of entry.listeners) {
    listener(state);
  }
  deleteIfUnused(room, entry);
}

/** Call `listener` now and at each change. Returns the undo. */
export function watchStatus(room: string, listener: StatusListener): () => void {
  const entry = entryOf(room);
  entry.listeners.add(listener);
  listener(entry.state);
  return () => {
    entry.listeners.delete(listener);
    deleteIfUnused(room, entry);
  };
}

function entryOf(room: string): Entry {
  let entry = entries().get(room);
  if (entry === undefined) {
    entry = { state: null, listeners: new Set() };
    entries().set(room, entry);
  }
  return entry;
}

function deleteIfUnused(room: string, entry: Entry): void {
  if (entry.state === null && entry.listeners.size === 0) {
    entries().delete(room);
  }
}

function entries(): Map<string, Entry> {
  const shared = globalThis as unknown as Record<symbol, Map<string, Entry> | undefined>;
  return (shared[ENTRIES] ??= new Map<string, Entry>());
}
