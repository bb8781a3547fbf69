// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from "vitest";

import streamlitCrdt from "../index";
import { badgeText } from "./status-badge";
import { setStatus } from "./status-store";
import type { StatusState } from "./status-store";

const STATE: StatusState = {
  status: "connected",
  level: 2,
  unsaved: 0,
  isFailing: false,
  isSilent: false,
  isViewer: false,
  isEnded: false,
  isFull: false,
  unsavedBySession: null,
  refusedBySession: 0,
};

afterEach(() => {
  vi.useRealTimers();
  document.body.replaceChildren();
  setStatus("plan", null);
});

describe("the badge text", () => {
  it.each<[string, Partial<StatusState> | null]>([
    ["Connecting…", null],
    ["Connecting…", { status: "connecting" }],
    ["Connecting…", { level: 0 }],
    ["Saved", {}],
    ["In memory only", { level: 1 }],
    ["Saving…", { unsaved: 2 }],
    ["Offline", { status: "offline" }],
    ["Offline, 1 edit not saved yet", { status: "offline", unsaved: 1 }],
    ["Offline, 12 edits not saved yet", { status: "offline", unsaved: 12, isFailing: true }],
    ["Saved", { status: "offline", unsavedBySession: 0 }],
    ["Saving…", { status: "offline", unsavedBySession: 3 }],
    ["In memory only", { status: "offline", unsavedBySession: 0, level: 1 }],
    ["Saved", { unsavedBySession: 0 }],
    ["Saving…", { unsavedBySession: 1 }],
    ["Not saved: the room rejected 1 edit", { unsavedBySession: 1, refusedBySession: 1 }],
    ["Not saved: the room rejected 3 edits", { status: "offline", unsavedBySession: 3, refusedBySession: 3 }],
    ["Not saved: the room is full", { status: "offline", isFull: true, unsaved: 1 }],
    ["Not saved: the room is full", { status: "offline", isFull: true, unsavedBySession: 0 }],
    ["View only", { isViewer: true }],
    ["View only", { isViewer: true, unsavedBySession: 1 }],
    ["Offline", { status: "offline", isViewer: true }],
    ["Not saved: the room's storage fails", { isFailing: true, unsaved: 1 }],
    ["Connected", { isSilent: true, unsaved: 4 }],
    ["Room deleted", { isEnded: true, status: "offline", unsaved: 3 }],
  ])("is %s for %j", (text, fields) => {
    expect(badgeText(fields === null ? null : { ...STATE, ...fields }).text).toBe(text);
  });

  it("suggests streamlit-crdt run if the browser cannot reach the room", () => {
    const { hint } = badgeText({ ...STATE, status: "offline", unsavedBySession: 0 });
    expect(hint).toContain("streamlit-crdt run");
  });
});

function mount(room = "plan") {
  const host = document.createElement("div");
  document.body.append(host);
  const parentElement = host.attachShadow({ mode: "open" });
  const triggers: unknown[] = [];
  const call = (name = room) =>
    streamlitCrdt({
      data: { badge: name },
      key: "k",
      name: "n",
      parentElement,
      setStateValue: () => undefined,
      setTriggerValue: (...trigger: unknown[]) => triggers.push(trigger),
    });
  const badges = () => [...parentElement.querySelectorAll("[data-streamlit-crdt-badge]")];
  return { host, call, triggers, badges, text: () => badges().map((badge) => badge.textContent) };
}

describe("the badge", () => {
  it("follows the status of its room without a trigger", () => {
    const { call, text, triggers, host } = mount();
    const end = call();
    expect(text()).toEqual(["Connecting…"]);
    setStatus("plan", STATE);
    setStatus("another", { ...STATE, unsaved: 1 });
    expect(text()).toEqual(["Saved"]);
    setStatus("plan", { ...STATE, unsaved: 1 });
    expect(text()).toEqual(["Saving…"]);
    expect(triggers).toEqual([]);
    setStatus("another", null);
    host.remove();
    end();
  });

  it("shows the current status in two places, and of its new room", () => {
    setStatus("plan", { ...STATE, isViewer: true });
    const [one, other] = [mount(), mount()];
    one.call();
    other.call();
    expect([...one.text(), ...other.text()]).toEqual(["View only", "View only"]);
    one.call("elsewhere");
    expect(one.text()).toEqual(["Connecting…"]);
    setStatus("plan", STATE);
    expect([...one.text(), ...other.text()]).toEqual(["Connecting…", "Saved"]);
  });

  it("has the ARIA role status and stays in the layout", () => {
    const { call, badges, host } = mount();
    const container = document.createElement("div");
    container.setAttribute("data-testid", "stElementContainer");
    host.replaceWith(container);
    container.append(host);
    call();
    expect(badges()[0]?.getAttribute("role")).toBe("status");
    expect(container.hasAttribute("data-streamlit-crdt")).toBe(false);
  });

  it("is removed with its element, not by the cleanup of an earlier call", () => {
    vi.useFakeTimers();
    const { call, text, host } = mount();
    const endFirst = call();
    const end = call();
    endFirst();
    vi.advanceTimersByTime(5_000);
    expect(text()).toHaveLength(1);
    host.remove();
    end();
    expect(text()).toHaveLength(0);
    expect(vi.getTimerCount()).toBe(0);
  });
});
