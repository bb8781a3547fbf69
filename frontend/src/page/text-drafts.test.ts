// @vitest-environment happy-dom
import { beforeEach, describe, expect, it } from "vitest";

import { FakeClock } from "../testing";
import { digestOf, TextDrafts } from "./text-drafts";

function type(field: HTMLTextAreaElement, text: string): void {
  field.dispatchEvent(new Event("beforeinput", { bubbles: true }));
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

function press(field: HTMLTextAreaElement, key: string, ctrlKey = false): void {
  field.dispatchEvent(new KeyboardEvent("keydown", { key, ctrlKey, bubbles: true }));
}

describe("text drafts", () => {
  let clock: FakeClock;
  let drafts: TextDrafts;
  let area: HTMLTextAreaElement;
  let requests: number;

  beforeEach(() => {
    document.body.innerHTML =
      '<div class="stTextArea st-key-notes"><textarea>shown</textarea></div><textarea id="other"></textarea>';
    area = document.querySelector("textarea") ?? expect.fail("no field");
    clock = new FakeClock();
    requests = 0;
    drafts = new TextDrafts(document, clock, () => {
      requests += 1;
    });
    return () => {
      drafts.destroy();
    };
  });

  it("report the digest of the text that a draft is based on", () => {
    expect(drafts.bases()).toEqual({});
    type(area, "shown, m");
    type(area, "shown, mine");
    expect(drafts.bases()).toEqual({ notes: [digestOf("shown"), expect.any(Number)] });
  });

  it("report the base for 3 s after the commit", () => {
    type(area, "mine");
    press(area, "Enter", true);
    clock.pass(2_000);
    expect(drafts.bases()).toEqual({ notes: [digestOf("shown"), expect.any(Number)] });
    clock.pass(2_000);
    expect(drafts.bases()).toEqual({});
  });

  it("request one frame after a text has overwritten a commit", () => {
    type(area, "mine");
    press(area, "Enter", true);
    clock.pass(1_000);
    expect(requests).toBe(0);
    area.value = "another session's";
    clock.pass(1_000);
    expect(requests).toBe(1);
    drafts.overwritten();
    clock.pass(10_000);
    expect(requests).toBe(1);
  });

  it("request no frame after destroy(), or after another session has begun", () => {
    for (const end of [drafts.forgetCommits.bind(drafts), drafts.destroy.bind(drafts)]) {
      area.value = "shown";
      type(area, "mine");
      press(area, "Enter", true);
      area.value = "another session's";
      end();
      clock.pass(10_000);
    }
    expect(requests).toBe(0);
  });

  it("begin a new draft after a commit", () => {
    type(area, "mine");
    area.dispatchEvent(new Event("focusout", { bubbles: true }));
    area.value = "merged";
    type(area, "merged!");
    expect(drafts.bases()).toEqual({ notes: [digestOf("merged"), expect.any(Number)] });
  });

  it("number drafts uniquely, also after a reload of the page", () => {
    const numbers = ["mine", "mine, too"].map((text) => {
      area.value = "shown";
      type(area, text);
      area.dispatchEvent(new Event("focusout", { bubbles: true }));
      return drafts.bases()["notes"]?.[1] ?? 0;
    });
    clock.pass(1_000);
    const reloaded = new TextDrafts(document, clock, () => undefined);
    type(area, "once more");
    const [first = 0, second = 0] = numbers;
    expect(second).toBeGreaterThan(first);
    expect(reloaded.bases()["notes"]?.[1]).toBeGreaterThan(second);
    reloaded.destroy();
  });

  it("repeat no commit to another session", () => {
    type(area, "mine");
    press(area, "Enter", true);
    area.value = "theirs";
    drafts.forgetCommits();
    expect(drafts.overwritten()).toEqual({});
  });

  it("continue a draft after a line break", () => {
    type(area, "a line");
    press(area, "Enter");
    type(area, "a line\n");
    expect(drafts.bases()).toEqual({ notes: [digestOf("shown"), expect.any(Number)] });
  });

  it("omit a field without a widget key", () => {
    type(document.querySelector("#other") ?? expect.fail("no field"), "text");
    expect(drafts.bases()).toEqual({});
  });

  it("omit a field that was removed from the page", () => {
    type(area, "mine");
    area.remove();
    expect(drafts.bases()).toEqual({});
  });

  it("repeat an overwritten commit with its base", () => {
    type(area, "mine");
    press(area, "Enter", true);
    expect(drafts.overwritten()).toEqual({});
    area.value = "theirs";
    expect(drafts.overwritten()).toEqual({ notes: { base: digestOf("shown"), text: "mine" } });
    clock.pass(11_000);
    expect(drafts.overwritten()).toEqual({});
  });

  it("repeat an overwritten commit while the next draft is open", () => {
    type(area, "mine");
    area.dispatchEvent(new Event("focusout", { bubbles: true }));
    area.value = "theirs";
    type(area, "theirs, too");
    expect(drafts.overwritten()).toEqual({ notes: { base: digestOf("shown"), text: "mine" } });
  });

  it("repeat no commit under the next draft, and no reverted draft", () => {
    type(area, "mine");
    press(area, "Enter", true);
    type(area, "mine, more");
    type(area, "mine");
    press(area, "Enter", true);
    area.value = "theirs";
    expect(drafts.overwritten()).toEqual({});
  });

  it("repeat no commit of a form", () => {
    const form = document.createElement("div");
    form.dataset["testid"] = "stForm";
    document.body.replaceChildren(form);
    form.innerHTML = '<div class="st-key-notes"><textarea>shown</textarea></div>';
    area = form.querySelector("textarea") ?? expect.fail("no field");
    type(area, "mine");
    press(area, "Enter", true);
    area.value = "theirs";
    expect(drafts.overwritten()).toEqual({});
  });

  it("repeat no commit of more than 100 000 characters", () => {
    type(area, "x".repeat(100_001));
    press(area, "Enter", true);
    area.value = "theirs";
    expect(drafts.overwritten()).toEqual({});
  });

  it("use the same digest as the session", () => {
    expect(digestOf("Grüße 👍\r\nline")).toBe("bc133868b36786a6");
    expect(digestOf("Grüße 👍\r\nline")).toBe(digestOf("Grüße 👍\nline"));
  });
});
