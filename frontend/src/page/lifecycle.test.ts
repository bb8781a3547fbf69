// @vitest-environment happy-dom
import { afterEach, describe, expect, it } from "vitest";

import streamlitCrdt from "../index";
import { requestRerun, watchReconnect } from "./lifecycle";

afterEach(() => {
  document.body.replaceChildren();
});

function app(
  script: string,
  connection: string | null = "CONNECTED",
): { triggers: () => string[]; end: () => void } {
  document.body.innerHTML = '<div data-testid="stApp"><div id="host"></div></div>';
  const stApp = document.querySelector('[data-testid="stApp"]');
  stApp?.setAttribute("data-test-script-state", script);
  if (connection !== null) {
    stApp?.setAttribute("data-test-connection-state", connection);
  }
  const names: string[] = [];
  const end = streamlitCrdt({
    data: { rerun: "plan" },
    key: "k",
    name: "n",
    parentElement: document.querySelector<HTMLElement>("#host") ?? expect.fail("no host"),
    setStateValue: () => undefined,
    setTriggerValue: (name: string) => names.push(name),
  });
  return { triggers: () => names, end };
}

describe("a rerun", () => {
  it("is triggered by the component of the room outside of the fragment", () => {
    const { triggers, end } = app("notRunning");
    requestRerun("another room");
    expect(triggers()).toEqual([]);
    requestRerun("plan");
    expect(triggers()).toEqual(["rerun"]);
    end();
    requestRerun("plan");
    expect(triggers()).toEqual(["rerun"]);
  });

  it.each([
    ["running", "CONNECTED"],
    ["notRunning", "PINGING_SERVER"],
  ])("P5: is not triggered while the script is %s and the page is %s", (script, connection) => {
    const { triggers } = app(script, connection);
    requestRerun("plan");
    expect(triggers()).toEqual([]);
  });

  it("is possible at a reconnect of the page, which is reported once", async () => {
    app("notRunning");
    const stApp = document.querySelector('[data-testid="stApp"]') ?? expect.fail("no app");
    let times = 0;
    const undo = watchReconnect(() => {
      times += 1;
    });
    for (const state of ["PINGING_SERVER", "CONNECTING", "CONNECTED", "CONNECTED"]) {
      stApp.setAttribute("data-test-connection-state", state);
      await Promise.resolve();
    }
    expect(times).toBe(1);
    undo();
  });

  it("is triggered in a page without a connection state", () => {
    const { triggers } = app("notRunning", null);
    requestRerun("plan");
    expect(triggers()).toEqual(["rerun"]);
  });
});
