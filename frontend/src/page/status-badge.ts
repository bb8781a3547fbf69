/**
 * Badge with the connection and save status of a room: a component mounted with `{badge: room}`.
 *
 * It shows the status of the room's tab in the same page, so it changes without a script run. The text alone is complete:
 * the color of the dot adds no information.
 */
import type { FrontendRendererArgs } from "@streamlit/component-v2-lib";

import { setStyles } from "./layout";
import { watchStatus } from "./status-store";
import type { StatusState } from "./status-store";

type Tone = "good" | "busy" | "bad" | "neutral";

export interface BadgeText {
  readonly text: string;
  readonly tone: Tone;
  /** Tooltip. */
  readonly hint: string;
}

const COLORS: Readonly<Record<Tone, string>> = {
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

const CONNECTING: BadgeText = { text: "Connecting…", tone: "neutral", hint: "" };

/** Return the room of a badge component, or null for another component. */
export function badgeRoom(data: unknown): string | null {
  const room =
    typeof data === "object" && data !== null ? (data as Record<string, unknown>).badge : undefined;
  return typeof room === "string" ? room : null;
}

/** Return the badge text for a status; null: no tab of this page is in the room yet. */
export function badgeText(state: StatusState | null): BadgeText {
  if (state === null) {
    return CONNECTING;
  }
  if (state.isEnded) {
    return badge(
      "Room deleted",
      "bad",
      "The room was deleted. What you change stays in this tab, until you leave the room or reload the page.",
    );
  }
  switch (state.status) {
    case "connecting":
      return CONNECTING;
    case "offline":
      return rejected(state) ?? offline(state);
    case "connected":
      return rejected(state) ?? connected(state);
  }
}

/** Return the text for edits that the room rejected and does not take later. */
function rejected({ isFull, isViewer, refusedBySession }: StatusState): BadgeText | null {
  if (isViewer) {
    return null;
  }
  if (isFull) {
    return badge(
      "Not saved: the room is full",
      "bad",
      "The room has reached the server's size limit and takes no more edits. Copy what you need and reload the page.",
    );
  }
  return refusedBySession === 0
    ? null
    : badge(
        `Not saved: the room rejected ${edits(refusedBySession)}`,
        "bad",
        "Other people do not see them.",
      );
}

function connected(state: StatusState): BadgeText {
  if (state.isViewer) {
    return badge("View only", "neutral", "You see the room. What you change stays in this tab.");
  }
  if (state.isFailing) {
    return badge(
      "Not saved: the room's storage fails",
      "bad",
      "Other people see your edits, but the server cannot store them at present. It retries.",
    );
  }
  if (state.isSilent) {
    return badge("Connected", "neutral", "This server does not report what it has saved.");
  }
  if (state.unsaved > 0 || (state.unsavedBySession ?? 0) > 0) {
    return badge("Saving…", "busy");
  }
  return state.level === 0 ? CONNECTING : saved(state, "");
}

/** Return the text for saved edits. "Saved" would promise too much for a room in memory. */
function saved({ level }: StatusState, hint: string): BadgeText {
  return level === 1
    ? badge(
        "In memory only",
        "neutral",
        `The server has your edits, but does not store them on disk. ${hint}`.trim(),
      )
    : badge("Saved", "good", hint);
}

function offline(state: StatusState): BadgeText {
  if (state.unsavedBySession !== null) {
    const hint =
      "This browser cannot reach the room's own port, so the app transfers edits, more slowly. " +
      "To avoid this, the app's owner can start it with: streamlit-crdt run";
    return state.unsavedBySession > 0 ? badge("Saving…", "busy", hint) : saved(state, hint);
  }
  if (state.unsaved === 0 || state.isViewer) {
    return badge("Offline", "bad");
  }
  return badge(
    `Offline, ${edits(state.unsaved)} not saved yet`,
    "bad",
    "They are sent after the tab has reconnected. Keep this tab open.",
  );
}

function edits(count: number): string {
  return count === 1 ? "1 edit" : `${count} edits`;
}

function badge(text: string, tone: Tone, hint = ""): BadgeText {
  return { text, tone, hint };
}

export class StatusBadge {
  private readonly box: HTMLElement;
  private readonly dot: HTMLElement;
  private readonly label: HTMLElement;
  private room: string | null = null;
  private stopWatching: (() => void) | null = null;

  constructor({ parentElement }: FrontendRendererArgs) {
    const page = parentElement.ownerDocument;
    this.box = page.createElement("span");
    this.box.setAttribute("role", "status");
    this.box.setAttribute("data-streamlit-crdt-badge", "");
    this.dot = page.createElement("span");
    this.dot.setAttribute("aria-hidden", "true");
    this.label = page.createElement("span");
    setStyles(this.box, BOX);
    setStyles(this.dot, DOT);
    this.box.append(this.dot, this.label);
    parentElement.append(this.box);
  }

  /** Process a further call of Streamlit, possibly with another room. */
  update(component: FrontendRendererArgs): void {
    const room = badgeRoom(component.data);
    if (room !== null && room !== this.room) {
      this.stopWatching?.();
      this.room = room;
      this.stopWatching = watchStatus(room, (state) => {
        this.show(badgeText(state));
      });
    }
  }

  destroy(): void {
    this.stopWatching?.();
    this.box.remove();
  }

  /** Show a text. An equal text is not set again, because screen readers would read it again. */
  private show({ text, tone, hint }: BadgeText): void {
    if (this.label.textContent !== text) {
      this.label.textContent = text;
    }
    this.box.title = hint;
    this.dot.style.setProperty("background", COLORS[tone]);
  }
}
