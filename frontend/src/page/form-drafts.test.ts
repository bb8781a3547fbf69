// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from "vitest";

import { FakeClock } from "../testing";
import { FormDrafts } from "./form-drafts";

const TEXT = "$$ID-0a1b-notes";
const SLIDER = "$$ID-2c3d-crdt:slider:4e5f";

class WidgetStates {
  readonly widgetStates = new Map<string, { stringValue?: string; doubleValue?: number }>();

  deleteState(id: string): void {
    this.widgetStates.delete(id);
  }
}

/** Page with one form and the objects of Streamlit's frontend for it. */
class Page {
  readonly sent = new WidgetStates();
  readonly drafts = new WidgetStates();

  constructor({ clears = false, isSupported = true } = {}) {
    const notes = '<div class="st-key-notes"><input type="text" /></div>';
    document.body.innerHTML = `<div data-testid="stForm">${notes}<button></button></div>`;
    const form = { clearOnSubmit: clears, widgetStates: this.drafts };
    const widgetMgr = { widgetStates: this.sent, forms: new Map([["form", form]]) };
    const fiber = {
      memoizedProps: null,
      return: { memoizedProps: isSupported ? { widgetMgr } : {}, return: null },
    };
    Object.assign(this.form, { __reactFiber$x1: fiber });
  }

  get form(): Element {
    return document.querySelector("[data-testid='stForm']") ?? expect.fail("no form");
  }

  get field(): HTMLInputElement {
    return document.querySelector("input") ?? expect.fail("no field");
  }

  /** Click in the form. The page's own listener runs `effect`. */
  act(effect: () => void = () => undefined): void {
    this.form.addEventListener("click", effect, { once: true });
    document.querySelector("button")?.click();
  }
}

describe("form drafts", () => {
  let clock: FakeClock;
  let forms: FormDrafts;
  let onChange: ReturnType<typeof vi.fn<() => void>>;

  beforeEach(() => {
    clock = new FakeClock();
    onChange = vi.fn<() => void>();
    forms = new FormDrafts(document, clock, onChange);
    return () => {
      forms.destroy();
      vi.restoreAllMocks();
    };
  });

  it("P7: report the fields with drafts, and request a frame per change", () => {
    const page = new Page();
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 }));
    clock.pass(1_000);
    expect(onChange).toHaveBeenCalledTimes(1);
    expect(forms.unsubmitted()).toEqual([SLIDER]);
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 8 }));
    clock.pass(1_000);
    expect(onChange).toHaveBeenCalledTimes(1);
    page.act(() => {
      page.drafts.widgetStates.clear();
    });
    clock.pass(1_000);
    expect(onChange).toHaveBeenCalledTimes(2);
    expect(forms.unsubmitted()).toEqual([]);
  });

  it("P7: include a slider, which stores its value late", () => {
    const page = new Page();
    page.act();
    clock.pass(200);
    page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 });
    clock.pass(200);
    expect(onChange).toHaveBeenCalledTimes(1);
  });

  it("omit a form with clear_on_submit", () => {
    const page = new Page({ clears: true });
    page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 });
    expect(forms.unsubmitted()).toEqual([]);
  });

  it("P7: drop a draft that a remote write replaced, before a submit", () => {
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

  it("P7: keep a draft that is based on the remote write", () => {
    const page = new Page();
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 }));
    page.sent.widgetStates.set(SLIDER, { doubleValue: 9 });
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 10 }));
    page.act();
    expect(forms.unsubmitted()).toEqual([SLIDER]);
  });

  it("P5: keep the draft that its text field still displays", () => {
    const page = new Page();
    page.act(() => page.drafts.widgetStates.set(TEXT, { stringValue: "mine" }));
    page.field.value = "mine";
    page.sent.widgetStates.set(TEXT, { stringValue: "theirs" });
    expect(forms.unsubmitted()).toEqual([TEXT]);
    page.sent.widgetStates.set(TEXT, { stringValue: "theirs, too" });
    page.field.value = "theirs, too";
    expect(forms.unsubmitted()).toEqual([]);
  });

  it("P7: drop a draft whose field renders the remote write late", () => {
    const page = new Page();
    page.act(() => page.drafts.widgetStates.set(TEXT, { stringValue: "mine" }));
    page.field.value = "mine";
    clock.pass(0);
    page.sent.widgetStates.set(TEXT, { stringValue: "theirs" });
    clock.pass(1_000); // a check between the write and its rendering
    page.field.value = "theirs";
    expect(forms.unsubmitted()).toEqual([]);
  });

  it("P5: keep the draft of a remounted field, stored in both places", () => {
    const page = new Page();
    page.act(() => page.drafts.widgetStates.set(SLIDER, { doubleValue: 7 }));
    page.sent.widgetStates.set(SLIDER, { doubleValue: 7 });
    expect(forms.unsubmitted()).toEqual([SLIDER]);
  });

  it("warn once if this version of Streamlit is not supported", () => {
    const warn = vi.spyOn(console, "warn").mockReturnValue(undefined);
    const page = new Page({ isSupported: false });
    page.act();
    page.act();
    expect(forms.unsubmitted()).toEqual([]);
    expect(warn).toHaveBeenCalledTimes(1);
  });
});
