/**
 * Page lifecycle: reruns for a tab whose session is gone, and the question before unloading.
 *
 * The channel is in a fragment, so its triggers rerun that fragment only. After a restart of the app the page connects to a
 * new session that does not have the fragment yet. Streamlit drops every trigger until the person uses a widget, and the tab
 * exchanges no edits until then. The session therefore mounts a second component outside of the fragment, whose trigger
 * reruns the whole script. It is used only when the page has reconnected or the session is silent, and no script runs.
 */
import type { FrontendRendererArgs } from "@streamlit/component-v2-lib";

import { hideContainer, hostElement } from "./layout";

/** Name of the trigger. The Python side passes `on_rerun_change`. */
const TRIGGER_NAME = "rerun";

const APP = '[data-testid="stApp"]';
const CONNECTION = "data-test-connection-state";
const CONNECTED = "CONNECTED";

/** Rerun function of each room, shared by all builds in this page. */
const OFFERS: symbol = Symbol.for("streamlit-crdt rerun offers");

type Offers = Map<string, () => void>;

/** Register a component mounted with `{rerun: room}`. Returns the undo, or null for another component. */
export function offerRerun(component: FrontendRendererArgs): (() => void) | null {
  const room = roomOf(component.data);
  if (room === null) {
    return null;
  }
  const showContainer = hideContainer(hostElement(component.parentElement));
  const rerun = (): void => {
    component.setTriggerValue(TRIGGER_NAME, Date.now());
  };
  offers().set(room, rerun);
  return () => {
    showContainer();
    if (offers().get(room) === rerun) {
      offers().delete(room);
    }
  };
}

/** Call `onReconnect` each time the page reconnects to the app. Returns the undo. */
export function watchReconnect(onReconnect: () => void): () => void {
  const app = document.querySelector(APP);
  if (app === null) {
    return () => undefined;
  }
  let wasConnected = isConnected(app);
  const observer = new MutationObserver(() => {
    const hasReconnected = !wasConnected && isConnected(app);
    wasConnected = isConnected(app);
    if (hasReconnected) {
      onReconnect();
    }
  });
  observer.observe(app, { attributeFilter: [CONNECTION] });
  return () => {
    observer.disconnect();
  };
}

/** Rerun the script if the page is connected and idle. A running script is never interrupted (P5). */
export function requestRerun(room: string): void {
  const app = document.querySelector(APP);
  const isIdle = app?.getAttribute("data-test-script-state") === "notRunning";
  if (app !== null && isIdle && isConnected(app)) {
    offers().get(room)?.();
  }
}

/**
 * The browser's question before a page with unsaved edits is unloaded. The listener is registered only while it is needed:
 * a page with such a listener is excluded from the back-forward cache.
 */
export class UnloadGuard {
  private isOn = false;

  constructor(private readonly page: Pick<Window, "addEventListener" | "removeEventListener">) {}

  set(isNeeded: boolean): void {
    if (isNeeded !== this.isOn) {
      this.isOn = isNeeded;
      if (isNeeded) {
        this.page.addEventListener("beforeunload", preventUnload);
      } else {
        this.page.removeEventListener("beforeunload", preventUnload);
      }
    }
  }
}

function preventUnload(event: Event): void {
  event.preventDefault();
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
