// @vitest-environment happy-dom
import { afterEach, describe, expect, it } from "vitest";

import streamlitCrdt from "../index";
import { askForRerun, watchReconnect } from "./lifecycle";

afterEach(() => {
  document.body.replaceChildren();
});

function app(
  script: string,
  connection: string | null = "CONNECTED",
): { asked: () => string[]; end: () => void } {
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
  return { asked: () => names, end };
}

describe("a tab whose session is gone", () => {
  it("has the whole script rerun through the component outside of the fragment", () => {
    const { asked, end } = app("notRunning");
    askForRerun("another room");
    expect(asked()).toEqual([]);
    askForRerun("plan");
    expect(asked()).toEqual(["rerun"]);
    end();
    askForRerun("plan");
    expect(asked()).toEqual(["rerun"]);
  });

  it.each([
    ["running", "CONNECTED"],
    ["notRunning", "PINGING_SERVER"],
  ])("P5: asks for nothing while the script is %s and the page is %s", (script, connection) => {
    const { asked } = app(script, connection);
    askForRerun("plan");
    expect(asked()).toEqual([]);
  });

  it("notices that the page is connected again", async () => {
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

  it("asks where the page does not tell how it is connected", () => {
    const { asked } = app("notRunning", null);
    askForRerun("plan");
    expect(asked()).toEqual(["rerun"]);
  });
});
