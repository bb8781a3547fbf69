/**
 * The badge that says whether a room's edits are saved: a component mounted with `{badge: room}`.
 *
 * It shows the live state of the room's tab in the same page, so it moves without a script run. Words first, colour second:
 * the dot says nothing that the word does not.
 */
import type { FrontendRendererArgs } from "@streamlit/component-v2-lib";

import { setStyles } from "./layout";
import { watchStatus } from "./status-store";
import type { StatusState } from "./status-store";

export type Tone = "good" | "busy" | "bad" | "neutral";

export interface Words {
  readonly text: string;
  readonly tone: Tone;
  /** Shown on hover. */
  readonly hint: string;
}

const COLOURS: Readonly<Record<Tone, string>> = {
  good: "var(--st-green-color, #21c354)",
  busy: "var(--st-blue-color, #1c83e1)",
  bad: "var(--st-red-color, #ff4b4b)",
  neutral: "var(--st-gray-color, #a3a8b8)",
};

const BOX: Readonly<Record<string, string>> = {
  display: "inline-flex",
  "align-items": "center",
  gap: "0.4rem",
  "font-family": "var(--st-font, sans-serif)",
  "font-size": "0.875rem",
  color: "var(--st-text-color, inherit)",
};

const DOT: Readonly<Record<string, string>> = {
  width: "0.5rem",
  height: "0.5rem",
  "border-radius": "50%",
  flex: "none",
};

/** The room that a component is a badge of; null if it is another component. */
export function badgeRoom(data: unknown): string | null {
  const room =
    typeof data === "object" && data !== null ? (data as Record<string, unknown>).badge : undefined;
  return typeof room === "string" ? room : null;
}

/** What the badge says of a room; null is "no tab in this page yet". */
export function badgeWords(state: StatusState | null): Words {
  if (state === null) {
    return CONNECTING;
  }
  if (state.isEnded) {
    return say(
      "Room deleted",
      "bad",
      "The room was deleted: what you change stays in this tab, until you leave the room or reload the page.",
    );
  }
  switch (state.status) {
    case "connecting":
      return CONNECTING;
    case "offline":
      return refused(state) ?? offline(state);
    case "connected":
      return refused(state) ?? connected(state);
  }
}

const CONNECTING = say("Connecting…", "neutral", "");

/** What the room did not take, and will not if nothing else changes. */
function refused({ isFull, isViewer, refusedBySession }: StatusState): Words | null {
  if (isViewer) {
    return null;
  }
  if (isFull) {
    return say(
      "Not saved: the room is full",
      "bad",
      "The room has reached the server's limit and takes no more edits. Copy what you need and reload the page.",
    );
  }
  return refusedBySession === 0
    ? null
    : say(`Not saved: the room refused ${edits(refusedBySession)}`, "bad", "Others do not see them.");
}

function connected(state: StatusState): Words {
  if (state.isViewer) {
    return say("View only", "neutral", "You see the room; what you change stays in this tab.");
  }
  if (state.isFailing) {
    return say(
      "Not saved: the room's storage fails",
      "bad",
      "Others see your edits, but the server cannot store them at present. It keeps trying.",
    );
  }
  if (state.isSilent) {
    return say("Connected", "neutral", "This server does not say what it has saved.");
  }
  if (state.unsaved > 0 || (state.unsavedBySession ?? 0) > 0) {
    return say("Saving…", "busy", "");
  }
  return state.level === 0 ? CONNECTING : saved(state, "");
}

/** Memory is not what people take "Saved" for. */
function saved({ level }: StatusState, hint: string): Words {
  return level === 1
    ? say("In memory only", "neutral", `The server has your edits, but keeps no file of them. ${hint}`.trim())
    : say("Saved", "good", hint);
}

function offline(state: StatusState): Words {
  if (state.unsavedBySession !== null) {
    const hint =
      "This browser does not reach the room's own port, so the app passes edits on, more slowly. " +
      "The app's owner can mend it by starting it with: streamlit-crdt run";
    return state.unsavedBySession > 0 ? say("Saving…", "busy", hint) : saved(state, hint);
  }
  if (state.unsaved === 0 || state.isViewer) {
    return say("Offline", "bad", "");
  }
  return say(
    `Offline, ${edits(state.unsaved)} not saved yet`,
    "bad",
    "They are sent when the connection is back; keep this tab open.",
  );
}

function edits(count: number): string {
  return count === 1 ? "1 edit" : `${count} edits`;
}

function say(text: string, tone: Tone, hint: string): Words {
  return { text, tone, hint };
}

export class StatusBadge {
  private readonly box: HTMLElement;
  private readonly dot: HTMLElement;
  private readonly words: HTMLElement;
  private room: string | null = null;
  private stopWatching: () => void = nothing;

  constructor({ parentElement }: FrontendRendererArgs) {
    const page = parentElement.ownerDocument;
    this.box = page.createElement("span");
    this.box.setAttribute("role", "status");
    this.box.setAttribute("data-streamlit-crdt-badge", "");
    this.dot = page.createElement("span");
    this.dot.setAttribute("aria-hidden", "true");
    this.words = page.createElement("span");
    setStyles(this.box, BOX);
    setStyles(this.dot, DOT);
    this.box.append(this.dot, this.words);
    parentElement.append(this.box);
  }

  /** The host called again, perhaps for another room. */
  update(component: FrontendRendererArgs): void {
    const room = badgeRoom(component.data);
    if (room !== null && room !== this.room) {
      this.stopWatching();
      this.room = room;
      this.stopWatching = watchStatus(room, (state) => {
        this.show(badgeWords(state));
      });
    }
  }

  destroy(): void {
    this.stopWatching();
    this.box.remove();
  }

  /** An equal text is not written again: screen readers would read it out again. */
  private show({ text, tone, hint }: Words): void {
    if (this.words.textContent !== text) {
      this.words.textContent = text;
    }
    this.box.title = hint;
    this.dot.style.setProperty("background", COLOURS[tone]);
  }
}

function nothing(): void {
  // No room is watched.
}
