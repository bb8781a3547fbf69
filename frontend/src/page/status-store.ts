/**
 * How each room stands, for everything in this page that shows it. The tab and the badge are separate components, so they
 * meet here: a badge changes without a script run.
 */
import type { Level, Status } from "../transport/frame";

export interface StatusState {
  readonly status: Status;
  readonly level: Level;
  readonly unsaved: number;
  readonly isFailing: boolean;
  /** The server does not say what it has saved. */
  readonly isSilent: boolean;
  readonly isViewer: boolean;
  /** The room was deleted while this tab held its history. */
  readonly isEnded: boolean;
  /** The room is too large to take this tab's edits. */
  readonly isFull: boolean;
  /** The session passes its own edits on; this many are not committed yet. null: it does not. */
  readonly unsavedBySession: number | null;
  /** Edits of the session that the room did not take. */
  readonly refusedBySession: number;
}

export type StatusListener = (state: StatusState | null) => void;

interface Place {
  state: StatusState | null;
  readonly listeners: Set<StatusListener>;
}

/** Shared by every build in this page, like the registry of mounted tabs. */
const PLACES: symbol = Symbol.for("streamlit-crdt live rooms");

/** Tell how `room` stands; null is "no tab here". */
export function setStatus(room: string, state: StatusState | null): void {
  const place = placeOf(room);
  place.state = state;
  for (const listener of place.listeners) {
    listener(state);
  }
  forgetIfUnused(room, place);
}

/** Call `listener` now and at each change. Returns the undo. */
export function watchStatus(room: string, listener: StatusListener): () => void {
  const place = placeOf(room);
  place.listeners.add(listener);
  listener(place.state);
  return () => {
    place.listeners.delete(listener);
    forgetIfUnused(room, place);
  };
}

function placeOf(room: string): Place {
  let place = places().get(room);
  if (place === undefined) {
    place = { state: null, listeners: new Set() };
    places().set(room, place);
  }
  return place;
}

function forgetIfUnused(room: string, place: Place): void {
  if (place.state === null && place.listeners.size === 0) {
    places().delete(room);
  }
}

function places(): Map<string, Place> {
  const shared = globalThis as unknown as Record<symbol, Map<string, Place> | undefined>;
  return (shared[PLACES] ??= new Map<string, Place>());
}
