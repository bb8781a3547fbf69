/**
 * Entry point that Streamlit calls.
 *
 * Streamlit calls the default export at mount, and again for each new `data` and each new theme, with the same
 * `parentElement`. It runs the returned cleanup at unmount. Streamlit 1.67 also runs it when a newer call overtook that call
 * while its module was loading; the component is then still in the page. A cleanup therefore ends the tab only after the
 * element has left the page, and checks again until then or until a newer call.
 */
import type { FrontendRendererArgs } from "@streamlit/component-v2-lib";

import { hostElement } from "./page/layout";
import { offerRerun } from "./page/lifecycle";
import { badgeRoom, StatusBadge } from "./page/status-badge";
import { Tab } from "./tab";

/** Interval at which a cleanup checks whether its element has left the page. */
const CLEANUP_RETRY_MS = 1_000;

/** One component in the page. All builds in a page share these objects, so their fields keep their names. */
interface Mounted {
  readonly tab: Pick<Tab | StatusBadge, "update" | "destroy">;
  readonly build: string;
  /** Number of calls for this element. The cleanup of an earlier call ends nothing. */
  calls: number;
}

/**
 * Mounted components, shared by all builds in this page. After an upgrade Streamlit calls the new build for an element with
 * an instance of the old build, and does not clean up the old one.
 */
const REGISTRY: symbol = Symbol.for("streamlit-crdt mounted");

type Registry = WeakMap<HTMLElement | ShadowRoot, Mounted>;

export default function streamlitCrdt(component: FrontendRendererArgs): () => void {
  return offerRerun(component) ?? render(component);
}

function render(component: FrontendRendererArgs): () => void {
  const { parentElement } = component;
  const instance = instanceAt(parentElement) ?? mount(component);
  instance.calls += 1;
  instance.tab.update(component);
  const call = instance.calls;
  return () => {
    cleanUp(parentElement, instance, call);
  };
}

function cleanUp(parent: HTMLElement | ShadowRoot, instance: Mounted, call: number): void {
  if (!hostElement(parent).isConnected) {
    unmount(parent, instance);
  } else if (instance.calls === call) {
    setTimeout(() => {
      cleanUp(parent, instance, call);
    }, CLEANUP_RETRY_MS);
  }
}

/** Return this build's instance at `parent`, if there is one. An instance of another build is unmounted. */
function instanceAt(parent: HTMLElement | ShadowRoot): Mounted | undefined {
  const instance = registry().get(parent);
  if (instance !== undefined && instance.build !== __BUILD__) {
    unmount(parent, instance);
    return undefined;
  }
  return instance;
}

function mount(component: FrontendRendererArgs): Mounted {
  const tab = badgeRoom(component.data) === null ? new Tab(component) : new StatusBadge(component);
  const instance = { tab, build: __BUILD__, calls: 0 };
  registry().set(component.parentElement, instance);
  return instance;
}

function unmount(parent: HTMLElement | ShadowRoot, instance: Mounted): void {
  if (registry().get(parent) === instance) {
    registry().delete(parent);
    instance.tab.destroy();
  }
}

function registry(): Registry {
  const shared = globalThis as unknown as Record<symbol, Registry | undefined>;
  return (shared[REGISTRY] ??= new WeakMap());
}
