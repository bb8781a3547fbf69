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

describe("Drafts", () => {
  let clock: FakeClock;
  let drafts: TextDrafts;
  let area: HTMLTextAreaElement;
  let asked: number;

  beforeEach(() => {
    document.body.innerHTML =
      '<div class="stTextArea st-key-notes"><textarea>shown</textarea></div><textarea id="other"></textarea>';
    area = document.querySelector("textarea") ?? expect.fail("no field");
    clock = new FakeClock();
    asked = 0;
    drafts = new TextDrafts(document, clock, () => {
      asked += 1;
    });
    return () => {
      drafts.destroy();
    };
  });

  it("names the text that a draft was begun on, however far the draft has come", () => {
    expect(drafts.bases()).toEqual({});
    type(area, "shown, m");
    type(area, "shown, mine");
    expect(drafts.bases()).toEqual({ notes: [digestOf("shown"), expect.any(Number)] });
  });

  it("keeps naming it for a moment after the commit, which may be on its way", () => {
    type(area, "mine");
    press(area, "Enter", true);
    clock.pass(2_000);
    expect(drafts.bases()).toEqual({ notes: [digestOf("shown"), expect.any(Number)] });
    clock.pass(2_000);
    expect(drafts.bases()).toEqual({});
  });

  it("asks for a frame once something was put over a commit, for the page may have sent that as if it were ours", () => {
    type(area, "mine");
    press(area, "Enter", true);
    clock.pass(1_000);
    expect(asked).toBe(0);
    area.value = "somebody else's";
    clock.pass(1_000);
    expect(asked).toBe(1);
    drafts.overwritten();
    clock.pass(10_000);
    expect(asked).toBe(1);
  });

  it("asks for nothing once it is gone, or another session has begun", () => {
    for (const end of [drafts.forgetCommits.bind(drafts), drafts.destroy.bind(drafts)]) {
      area.value = "shown";
      type(area, "mine");
      press(area, "Enter", true);
      area.value = "somebody else's";
      end();
      clock.pass(10_000);
    }
    expect(asked).toBe(0);
  });

  it("takes what is typed after a commit for a draft of its own", () => {
    type(area, "mine");
    area.dispatchEvent(new Event("focusout", { bubbles: true }));
    area.value = "merged";
    type(area, "merged!");
    expect(drafts.bases()).toEqual({ notes: [digestOf("merged"), expect.any(Number)] });
  });

  it("tells two drafts of the same text apart, also those of the page as it was before", () => {
    const numbers = ["mine", "mine, too"].map((text) => {
      area.value = "shown";
      type(area, text);
      area.dispatchEvent(new Event("focusout", { bubbles: true }));
      return drafts.bases()["notes"]?.[1] ?? 0;
    });
    clock.pass(1_000);
    const reloaded = new TextDrafts(document, clock);
    type(area, "once more");
    const [first = 0, second = 0] = numbers;
    expect(second).toBeGreaterThan(first);
    expect(reloaded.bases()["notes"]?.[1]).toBeGreaterThan(second);
    reloaded.destroy();
  });

  it("repeats nothing to another session", () => {
    type(area, "mine");
    press(area, "Enter", true);
    area.value = "theirs";
    drafts.forgetCommits();
    expect(drafts.overwritten()).toEqual({});
  });

  it("goes on with a draft after a line end in it", () => {
    type(area, "a line");
    press(area, "Enter");
    type(area, "a line\n");
    expect(drafts.bases()).toEqual({ notes: [digestOf("shown"), expect.any(Number)] });
  });

  it("leaves out a field that is no widget of a key", () => {
    type(document.querySelector("#other") ?? expect.fail("no field"), "text");
    expect(drafts.bases()).toEqual({});
  });

  it("forgets a field that has left the page", () => {
    type(area, "mine");
    area.remove();
    expect(drafts.bases()).toEqual({});
  });

  it("repeats a commit that another text was put over, with what it was begun on", () => {
    type(area, "mine");
    press(area, "Enter", true);
    expect(drafts.overwritten()).toEqual({});
    area.value = "theirs";
    expect(drafts.overwritten()).toEqual({ notes: { base: digestOf("shown"), text: "mine" } });
    clock.pass(11_000);
    expect(drafts.overwritten()).toEqual({});
  });

  it("repeats it though its author has begun to write again", () => {
    type(area, "mine");
    area.dispatchEvent(new Event("focusout", { bubbles: true }));
    area.value = "theirs";
    type(area, "theirs, too");
    expect(drafts.overwritten()).toEqual({ notes: { base: digestOf("shown"), text: "mine" } });
  });

  it("repeats no commit that stood when the next draft was begun, nor a draft that was taken back", () => {
    type(area, "mine");
    press(area, "Enter", true);
    type(area, "mine, more");
    type(area, "mine");
    press(area, "Enter", true);
    area.value = "theirs";
    expect(drafts.overwritten()).toEqual({});
  });

  it("repeats nothing that was written in a form", () => {
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

  it("repeats no text that a header cannot hold", () => {
    type(area, "x".repeat(100_001));
    press(area, "Enter", true);
    area.value = "theirs";
    expect(drafts.overwritten()).toEqual({});
  });

  it("digests a text as the session does", () => {
    expect(digestOf("Grüße 👍\r\nline")).toBe("bc133868b36786a6");
    expect(digestOf("Grüße 👍\r\nline")).toBe(digestOf("Grüße 👍\nline"));
  });
});
