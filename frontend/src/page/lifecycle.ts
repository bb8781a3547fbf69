/**
 * A way back for a tab whose session is gone.
 *
 * The channel lives in a fragment, so its triggers rerun that fragment only. When the app restarts, the page connects to a
 * new session that has no such fragment yet, and Streamlit drops every trigger until the person clicks something: the tab
 * would neither see the others nor be seen. So the session mounts a second component outside of the fragment, whose
 * trigger reruns the whole script; it is used only when the page has reconnected or the session has fallen silent, and no
 * script runs.
 */
import type { FrontendRendererArgs } from "@streamlit/component-v2-lib";

import { hostElement, takeNoRoom } from "./layout";

/** Name of the trigger; the Python side passes `on_rerun_change`. */
const TRIGGER_NAME = "rerun";

const APP = '[data-testid="stApp"]';
const CONNECTION = "data-test-connection-state";
const CONNECTED = "CONNECTED";

/** Shared by every build in this page, like the registry of mounted tabs. */
const OFFERS: symbol = Symbol.for("streamlit-crdt rerun offers");

type Offers = Map<string, () => void>;

/** Take note of a component mounted with `{rerun: room}`; return null if it is another one. */
export function offerRerun(component: FrontendRendererArgs): (() => void) | null {
  const room = roomOf(component.data);
  if (room === null) {
    return null;
  }
  const showRoom = takeNoRoom(hostElement(component.parentElement));
  const ask = (): void => {
    component.setTriggerValue(TRIGGER_NAME, Date.now());
  };
  offers().set(room, ask);
  return () => {
    showRoom();
    if (offers().get(room) === ask) {
      offers().delete(room);
    }
  };
}

/** Call `onReconnect` when the page is connected again after it was not. Returns the undo. */
export function watchReconnect(onReconnect: () => void): () => void {
  const app = document.querySelector(APP);
  if (app === null) {
    return () => undefined;
  }
  let wasConnected = isConnected(app);
  const observer = new MutationObserver(() => {
    const cameBack = !wasConnected && isConnected(app);
    wasConnected = isConnected(app);
    if (cameBack) {
      onReconnect();
    }
  });
  observer.observe(app, { attributeFilter: [CONNECTION] });
  return () => {
    observer.disconnect();
  };
}

/** Rerun the script if the page is connected and idle. A run under way is never interrupted (P5). */
export function askForRerun(room: string): void {
  const app = document.querySelector(APP);
  const isIdle = app?.getAttribute("data-test-script-state") === "notRunning";
  if (app !== null && isIdle && isConnected(app)) {
    offers().get(room)?.();
  }
}

function isConnected(app: Element): boolean {
  return (app.getAttribute(CONNECTION) ?? CONNECTED) === CONNECTED;
}

function roomOf(data: unknown): string | null {
  const room =
    typeof data === "object" && data !== null ? (data as Record<string, unknown>).rerun : undefined;
  return typeof room === "string" ? room : null;
}

function offers(): Offers {
  const shared = globalThis as unknown as Record<symbol, Offers | undefined>;
  return (shared[OFFERS] ??= new Map<string, () => void>());
}

/**
 * The browser's own question before a page with unsaved edits is left. The listener is there only while it is needed: a page
 * with one is kept out of the back-forward cache.
 */
export class UnloadGuard {
  private isOn = false;

  constructor(private readonly page: Pick<Window, "addEventListener" | "removeEventListener">) {}

  set(isNeeded: boolean): void {
    if (isNeeded !== this.isOn) {
      this.isOn = isNeeded;
      if (isNeeded) {
        this.page.addEventListener("beforeunload", askBeforeLeaving);
      } else {
        this.page.removeEventListener("beforeunload", askBeforeLeaving);
      }
    }
  }
}

function askBeforeLeaving(event: Event): void {
  event.preventDefault();
}
