// @vitest-environment happy-dom
import { fromBase64 } from "lib0/buffer";
import * as decoding from "lib0/decoding";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import * as Y from "yjs";

import streamlitCrdt from "./index";
import { sessionHeader } from "./testing";
import { encodeFrameBytes } from "./transport/frame";
import type { TabHeader } from "./transport/frame";

const NOTICE = "[data-streamlit-crdt-notice]";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
  document.body.replaceChildren();
});

function frame(fields: Record<string, unknown> = {}, update: Uint8Array = new Uint8Array(0)): Uint8Array {
  return encodeFrameBytes(sessionHeader({ build: __BUILD__, ...fields }), update);
}

/** Build Streamlit's page around a component in a fragment, next to another element. */
function page({ isShadow = false } = {}) {
  document.body.innerHTML = `
    <div data-testid="stVerticalBlock" id="main">
      <div data-testid="stElementContainer" id="title"></div>
      <div data-testid="stLayoutWrapper" id="wrapper"><div data-testid="stVerticalBlock">
        <div data-testid="stElementContainer" id="ours"><div id="host"></div></div>
      </div></div>
    </div>`;
  const host = document.querySelector<HTMLElement>("#host") ?? expect.fail("the page has no host");
  const sent: TabHeader[] = [];
  const setTriggerValue = (_name: string, value: unknown): void => {
    const decoder = decoding.createDecoder(fromBase64(value as string));
    decoding.readUint8(decoder);
    const header = new TextDecoder().decode(decoding.readVarUint8Array(decoder));
    sent.push(JSON.parse(header) as TabHeader);
  };
  const parentElement = isShadow ? host.attachShadow({ mode: "open" }) : host;
  const call = (data: unknown) =>
    streamlitCrdt({
      data,
      key: "k",
      name: "n",
      parentElement,
      setStateValue: () => undefined,
      setTriggerValue,
    });
  return { call, sent, host };
}

async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms);
}

describe("the component", () => {
  it("sends a hello after mounting, and none after a rerender", async () => {
    const { call, sent, host } = page();
    const end = call(frame());
    expect(sent).toHaveLength(0);
    await pass(10);
    expect(sent.map(({ why }) => why)).toEqual(["hello"]);
    const { id, v } = sent[0] ?? expect.fail("no hello was sent");
    call(frame({ ack_of: id, ack: v }));
    await pass(1_000);
    const { v: lastVersion } = sent.at(-1) ?? expect.fail("no frame was sent");
    call(frame({ ack_of: id, ack: lastVersion, settle: true }));
    await pass(1_000);
    expect(new Set(sent.map((header) => header.id))).toEqual(new Set([id]));
    expect(sent.filter(({ why }) => why === "hello")).toHaveLength(1);
    expect(sent.at(-1)?.why).toBe("settle");
    host.remove();
    end();
  });

  it("ignores unchanged data in a call for a new theme", async () => {
    const { call, sent, host } = page();
    call(frame());
    await pass(10);
    const { id, v } = sent[0] ?? expect.fail("no hello was sent");
    const data = frame({ ack_of: id, ack: v + 9, settle: true });
    call(data);
    await pass(10);
    const count = sent.length;
    const end = call(data);
    await pass(10);
    expect(sent).toHaveLength(count);
    host.remove();
    end();
  });

  it("stops when its element was removed from the page", async () => {
    const { call, sent, host } = page();
    const end = call(frame());
    host.remove();
    end();
    await pass(60_000);
    expect(sent).toHaveLength(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("survives the cleanup of a call that a newer one overtook", async () => {
    const { call, sent, host } = page();
    const endFirst = call(frame());
    const endSecond = call(frame());
    endFirst();
    await pass(5_000);
    expect(new Set(sent.map(({ id }) => id)).size).toBe(1);
    endSecond();
    await pass(500);
    const end = call(frame());
    await pass(5_000);
    expect(new Set(sent.map(({ id }) => id)).size).toBe(1);
    host.remove();
    end();
  });

  it("survives a cleanup until 1 s after its element left the page", async () => {
    const { call, sent, host } = page();
    const end = call(frame());
    end();
    await pass(5_000);
    const count = sent.length;
    expect(count).toBeGreaterThan(1);
    host.remove();
    await pass(1_000);
    const last = sent.length;
    await pass(60_000);
    expect(sent).toHaveLength(last);
    expect(vi.getTimerCount()).toBe(0);
  });

  it.each([false, true])("is hidden from the layout (shadow root: %s)", (isShadow) => {
    const { call, host } = page({ isShadow });
    const end = call(frame());
    const ours = document.querySelector("#ours");
    expect(ours?.hasAttribute("data-streamlit-crdt")).toBe(true);
    expect(document.querySelector("#title")?.hasAttribute("data-streamlit-crdt")).toBe(false);
    expect(document.querySelectorAll("#streamlit-crdt-layout")).toHaveLength(1);
    host.remove();
    end();
    expect(ours?.hasAttribute("data-streamlit-crdt")).toBe(false);
  });

  it("mounts in a page with other markup", async () => {
    const { call, sent, host } = page();
    document.body.replaceChildren(host);
    const end = call(null);
    await pass(10);
    expect(sent.map(({ why }) => why)).toEqual(["hello"]);
    host.remove();
    end();
  });

  it("shows no notice in normal operation", async () => {
    const { call, host } = page();
    const end = call(frame());
    await pass(5_000);
    expect(document.querySelector(NOTICE)).toBeNull();
    host.remove();
    end();
  });

  it("shows one reload notice when the session has another build", async () => {
    const { call, sent, host } = page();
    call(frame({ build: "0.0.1+old" }));
    const end = call(new Uint8Array([7, 7]));
    await pass(10);
    const notices = document.querySelectorAll(NOTICE);
    expect([...notices].map((notice) => notice.textContent)).toEqual([
      "This tab runs an older version of streamlit-crdt. Reload the page.Reload",
    ]);
    expect(sent.map(({ error }) => error)).toEqual(["old-build"]);
    host.remove();
    end();
    expect(document.querySelector(NOTICE)).toBeNull();
  });

  it("lists and guards the unsaved edits of a deleted room", async () => {
    const { call, sent, host } = page();
    const mine = new Y.Doc();
    mine.getMap("state").set("note", "<b>mine</b>");
    const own = { epoch: "1".repeat(32), wants_saved: true };
    call(frame(own, Y.encodeStateAsUpdate(mine)));
    await pass(10);
    expect(sent.at(-1)).toMatchObject({ why: "hello", unsaved: 1, saved_v: 0, failing: false, level: 0 });
    const unloadWithEdits = new Event("beforeunload", { cancelable: true });
    window.dispatchEvent(unloadWithEdits);
    expect(unloadWithEdits.defaultPrevented).toBe(true);
    const count = sent.length;
    const end = call(frame({ id: 12, epoch: "2".repeat(32), settle: true }));
    await pass(60_000);
    expect(sent).toHaveLength(count);
    const notice = document.querySelector(NOTICE) ?? expect.fail("no notice is shown");
    expect([...notice.querySelectorAll("li")].map((item) => item.textContent)).toEqual([
      'note: "<b>mine</b>"',
    ]);
    expect(notice.querySelector("li")?.style.fontSize).toBe("inherit"); // Streamlit's rule for lists has a larger font
    expect(notice.querySelector("button")?.textContent).toBe("Reload");
    host.remove();
    end();
    const unloadAfter = new Event("beforeunload", { cancelable: true });
    window.dispatchEvent(unloadAfter);
    expect(unloadAfter.defaultPrevented).toBe(false);
  });

  it("A2: requests a new token before the expiry, without a click", async () => {
    const { call, sent, host } = page();
    call(frame({ token: "a.b.c", token_expires_in_s: 600 }));
    await pass(10);
    const { id, v } = sent[0] ?? expect.fail("no hello was sent");
    const end = call(frame({ ack_of: id, ack: v, token: "a.b.c", token_expires_in_s: 600 }));
    await pass(479_000);
    expect(sent.map(({ why }) => why)).not.toContain("token");
    await pass(1_000);
    expect(sent.at(-1)?.why).toBe("token");
    host.remove();
    end();
  });

  it("sends no frame after pagehide", async () => {
    const { call, sent, host } = page();
    const end = call(frame());
    await pass(10);
    const count = sent.length;
    window.dispatchEvent(new Event("pagehide"));
    const other = new Y.Doc();
    other.getMap("state").set("a", 1);
    call(frame({ settle: true }, Y.encodeStateAsUpdate(other)));
    await pass(60_000);
    expect(sent).toHaveLength(count);
    host.remove();
    end();
  });

  it("replaces an instance of another build at the same element", async () => {
    const { call, sent, host } = page();
    call(frame());
    await pass(10);
    const registry = (globalThis as Record<symbol, WeakMap<object, { build: string }>>)[
      Symbol.for("streamlit-crdt mounted")
    ];
    const instance = registry?.get(host) ?? expect.fail("no instance is mounted");
    instance.build = "older";
    const end = call(frame());
    await pass(60_000);
    const [first, ...others] = sent.map(({ id }) => id);
    expect(new Set(others).size).toBe(1);
    expect(others).not.toContain(first);
    host.remove();
    end();
  });
});
