// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from "vitest";

import { FakeClock } from "../testing";
import { FormDrafts } from "./form-drafts";

const TEXT = "$$ID-0a1b-notes";
const SLIDER = "$$ID-2c3d-crdt:slider:4e5f";

class HeldById {
  readonly widgetStates = new Map<string, { stringValue?: string; doubleValue?: number }>();

  deleteState(id: string): void {
    this.widgetStates.delete(id);
  }
}

/** A page with one form, as Streamlit's frontend keeps it. */
class Page {
  readonly sent = new HeldById();
  readonly drafts = new HeldById();

  constructor({ clears = false, isKnown = true } = {}) {
    const notes = '<div class="st-key-notes"><input type="text" /></div>';
    document.body.innerHTML = `<div data-testid="stForm">${notes}<button></button></div>`;
    const form = { clearOnSubmit: clears, widgetStates: this.drafts };
    const widgetMgr = { widgetStates: this.sent, forms: new Map([["form", form]]) };
    const fiber = {
      memoizedProps: null,
      return: { memoizedProps: isKnown ? { widgetMgr } : {}, return: null },
    };
    Object.assign(this.form, { __reactFiber$x1: fiber });
  }

  get form(): Element {
    return document.querySelector("[data-testid='stForm']") ?? expect.fail("no form");
  }

  get field(): HTMLInputElement {
    return document.querySelector("input") ?? expect.fail("no field");
  }

  /** Something that a person does, whose effect the page's own listeners have. */
  act(effect: () => void = () => undefined): void {
    this.form.addEventListener("click", effect, { once: true });
    document.querySelector("button")?.click();
  }
}

describe("Forms", () => {
  let clock: FakeClock;
  let forms: FormDrafts;
  let onDraft: ReturnType<typeof vi.fn<() => void>>;

  beforeEach(() => {
    clock = new FakeClock();
    onDraft = vi.fn<() => void>();
    forms = new FormDrafts(document, clock, onDraft);
    return () => {
      forms.destroy();
      vi.restoreAllMocks();
    };
  });

  it("P7: names the fields with drafts, and says once that there are others", () => {
    const page = new Page();
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 }));
    clock.pass(1_000);
    expect(onDraft).toHaveBeenCalledTimes(1);
    expect(forms.unsubmitted()).toEqual([SLIDER]);
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 8 }));
    clock.pass(1_000);
    expect(onDraft).toHaveBeenCalledTimes(1);
    page.act(() => {
      page.drafts.widgetStates.clear();
    });
    clock.pass(1_000);
    expect(onDraft).toHaveBeenCalledTimes(2);
    expect(forms.unsubmitted()).toEqual([]);
  });

  it("P7: waits for a slider, which tells of its value late", () => {
    const page = new Page();
    page.act();
    clock.pass(200);
    page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 });
    clock.pass(200);
    expect(onDraft).toHaveBeenCalledTimes(1);
  });

  it("names nothing of a form that is cleared", () => {
    const page = new Page({ clears: true });
    page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 });
    expect(forms.unsubmitted()).toEqual([]);
  });

  it("P7: drops a draft over which a value was shown, before anything can submit it", () => {
    const page = new Page();
    page.sent.widgetStates.set(SLIDER, { doubleValue: 2 });
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 }));
    clock.pass(0);
    page.sent.widgetStates.set(SLIDER, { doubleValue: 9 });
    let submitted: unknown = null;
    page.act(() => {
      submitted = page.drafts.widgetStates.get(SLIDER) ?? page.sent.widgetStates.get(SLIDER);
    });
    expect(submitted).toEqual({ doubleValue: 9 });
  });

  it("P7: keeps a draft that was made of the value that was shown", () => {
    const page = new Page();
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 }));
    page.sent.widgetStates.set(SLIDER, { doubleValue: 9 });
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 10 }));
    page.act();
    expect(forms.unsubmitted()).toEqual([SLIDER]);
  });

  it("P5: keeps the draft of a text that its field goes on to show", () => {
    const page = new Page();
    page.act(() => page.drafts.widgetStates.set(TEXT, { stringValue: "mine" }));
    page.field.value = "mine";
    page.sent.widgetStates.set(TEXT, { stringValue: "theirs" });
    expect(forms.unsubmitted()).toEqual([TEXT]);
    page.sent.widgetStates.set(TEXT, { stringValue: "theirs, too" });
    page.field.value = "theirs, too";
    expect(forms.unsubmitted()).toEqual([]);
  });

  it("P5: keeps the draft of a field that is drawn anew, which says the same twice", () => {
    const page = new Page();
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 }));
    page.sent.widgetStates.set(SLIDER, { doubleValue: 7 });
    expect(forms.unsubmitted()).toEqual([SLIDER]);
  });

  it("says once that it does not know the page, and then leaves it alone", () => {
    const warn = vi.spyOn(console, "warn").mockReturnValue(undefined);
    const page = new Page({ isKnown: false });
    page.act();
    page.act();
    expect(forms.unsubmitted()).toEqual([]);
    expect(warn).toHaveBeenCalledTimes(1);
  });
});
