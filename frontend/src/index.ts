/**
 * The component as Streamlit calls it.
 *
 * Streamlit calls the default export at mount and again for each new `data` and each new theme, with the same
 * `parentElement`: a rerender is not a mount. The cleanup it gets back from a call is run at unmount, but also, by Streamlit
 * 1.67, when a newer call overtook that call while its module was loading; the component is then still in the page. So a
 * cleanup ends the tab only once the element has left the page or a newer call has taken over; until then it looks again.
 */
import type { FrontendRendererArgs } from "@streamlit/component-v2-lib";

import { hostElement } from "./page/layout";
import { offerRerun } from "./page/lifecycle";
import { badgeRoom, StatusBadge } from "./page/status-badge";
import { Tab } from "./tab";

/** How often a cleanup of a component that is still in the page looks again. */
const LOOK_AGAIN_MS = 1_000;

interface Mounted {
  readonly tab: Pick<Tab | StatusBadge, "update" | "destroy">;
  readonly build: string;
  /** How often the host called; a cleanup of an earlier call has nothing to end. */
  calls: number;
}

/**
 * Shared by every build that was ever loaded into this page: after an upgrade Streamlit calls the new build on the element
 * where the old one still lives, and never cleans up the old one.
 */
const REGISTRY: symbol = Symbol.for("streamlit-crdt mounted");

type Registry = WeakMap<HTMLElement | ShadowRoot, Mounted>;

export default function streamlitCrdt(component: FrontendRendererArgs): () => void {
  return offerRerun(component) ?? run(component);
}

function run(component: FrontendRendererArgs): () => void {
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
    end(parent, instance);
  } else if (instance.calls === call) {
    setTimeout(() => {
      cleanUp(parent, instance, call);
    }, LOOK_AGAIN_MS);
  }
}

/** This build's instance at `parent`, if there is one; another build's is ended. */
function instanceAt(parent: HTMLElement | ShadowRoot): Mounted | undefined {
  const instance = registry().get(parent);
  if (instance !== undefined && instance.build !== __BUILD__) {
    end(parent, instance);
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

function end(parent: HTMLElement | ShadowRoot, instance: Mounted): void {
  if (registry().get(parent) === instance) {
    registry().delete(parent);
    instance.tab.destroy();
  }
}

function registry(): Registry {
  const shared = globalThis as unknown as Record<symbol, Registry | undefined>;
  return (shared[REGISTRY] ??= new WeakMap());
}
