/**
 * Drafts in the page's forms, which Streamlit sends only when the form is submitted.
 *
 * A value that a script writes into a field with a draft is displayed, but the draft is submitted, because Streamlit stores
 * the two in different places. Each frame therefore names the fields with drafts, and the session does not write into them.
 * Where a draft and a remote write have crossed, the draft is dropped, so that the displayed value is submitted (P7).
 *
 * The drafts are only in Streamlit's own objects. This is the one module that reads them, and `WidgetStateManager` has all
 * names that are not public. If they are missing, forms behave as in an app without this library.
 */
import { Timer } from "../clock";
import type { Clock } from "../clock";

const FORM = "[data-testid='stForm']";
const FIBER = "__reactFiber$";
/** React components above a form's element that are searched. The form's own component is the nearest one. */
const MAX_DEPTH = 16;
const EVENTS = ["pointerdown", "click", "keydown", "input", "change", "focusout"];
/** Delay after which a slider has stored its value. It does so 200 ms after the last movement. */
const SLOW_WIDGET_MS = 400;
/** Element ids in a frame. The session accepts no more. */
const MAX_UNSUBMITTED = 256;
const ID_BEFORE_KEY = /^\$\$ID-[^-]*-/;
const TEXT_FIELD = "textarea, input[type='text']";

/** Value of a widget, in one of many properties. A text is in `stringValue`. */
interface WidgetState {
  readonly stringValue?: string | null;
}

interface WidgetStates {
  readonly widgetStates: ReadonlyMap<string, WidgetState>;
  deleteState(id: string): void;
}

interface FormState {
  readonly clearOnSubmit: boolean;
  readonly widgetStates: WidgetStates;
}

/** Streamlit's class of this name (1.65 to 1.67): the sent state of each widget, and the drafts of each form. */
interface WidgetStateManager {
  readonly widgetStates: WidgetStates;
  readonly forms: ReadonlyMap<string, FormState>;
}

/** A draft, and the sent state of its widget at the same time. */
interface Observed {
  readonly draft: WidgetState;
  readonly sent: WidgetState | undefined;
}

export class FormDrafts {
  private manager: WidgetStateManager | null = null;
  private isUnsupported = false;
  private observed = new Map<string, Observed>();
  private reportedIds = "";
  private readonly checkSoon: Timer;
  private readonly checkLater: Timer;

  /** `onChange`: called when a field has a new draft, or has none any more. */
  constructor(
    private readonly page: Document,
    clock: Clock,
    private readonly onChange: () => void,
  ) {
    this.checkSoon = new Timer(clock);
    this.checkLater = new Timer(clock);
    for (const event of EVENTS) {
      page.addEventListener(event, this.onEvent, true);
    }
  }

  destroy(): void {
    for (const event of EVENTS) {
      this.page.removeEventListener(event, this.onEvent, true);
    }
    this.checkSoon.cancel();
    this.checkLater.cancel();
  }

  /**
   * Return the element ids of the fields with a draft that the session must not overwrite. Forms with `clear_on_submit` are
   * left out, because the session writes no remote values into them.
   */
  unsubmitted(): string[] {
    this.dropStaleDrafts();
    const ids: string[] = [];
    for (const form of this.findManager()?.forms.values() ?? []) {
      if (!form.clearOnSubmit) {
        ids.push(...form.widgetStates.widgetStates.keys());
      }
    }
    const reported = ids.slice(0, MAX_UNSUBMITTED);
    this.reportedIds = reported.join("\n");
    return reported;
  }

  /** Runs before the page's own listeners, so that they submit the displayed values. Checks again after they have run. */
  private readonly onEvent = (): void => {
    this.dropStaleDrafts();
    this.checkSoon.start(0, this.check);
    this.checkLater.start(SLOW_WIDGET_MS, this.check);
  };

  private readonly check = (): void => {
    const before = this.reportedIds;
    this.unsubmitted();
    if (this.reportedIds !== before) {
      this.onChange();
    }
  };

  /** Drop each draft that a remote write has replaced on the screen: the draft is unchanged, and the sent state is new. */
  private dropStaleDrafts(): void {
    const manager = this.findManager();
    const observed = new Map<string, Observed>();
    for (const form of manager?.forms.values() ?? []) {
      for (const [id, draft] of [...form.widgetStates.widgetStates]) {
        const sent = manager?.widgetStates.widgetStates.get(id);
        const before = this.observed.get(id);
        const isReplaced = before?.draft === draft && before.sent !== sent && !isEqual(draft, sent);
        if (!isReplaced) {
          observed.set(id, { draft, sent });
        } else if (this.isDisplayed(id, draft)) {
          observed.set(id, before); // the field may render the remote write later
        } else {
          form.widgetStates.deleteState(id);
        }
      }
    }
    this.observed = observed;
  }

  /** Return whether a text field displays its draft. It does while the person types in it. */
  private isDisplayed(id: string, draft: WidgetState): boolean {
    const name = id
      .replace(ID_BEFORE_KEY, "")
      .trim()
      .replace(/[^a-zA-Z0-9_-]/g, "-");
    const widget = this.page.querySelector(`.st-key-${CSS.escape(name)}`);
    const field = widget?.querySelector<HTMLInputElement | HTMLTextAreaElement>(TEXT_FIELD);
    return typeof draft.stringValue === "string" && field?.value === draft.stringValue;
  }

  private findManager(): WidgetStateManager | null {
    const form = this.manager === null ? this.page.querySelector(FORM) : null;
    if (form !== null && !this.isUnsupported) {
      this.manager = managerOf(form);
      this.isUnsupported = this.manager === null;
      if (this.isUnsupported) {
        console.warn(
          "streamlit-crdt: drafts in forms are not protected, because this version of Streamlit is not supported",
        );
      }
    }
    return this.manager;
  }
}

function managerOf(form: Element): WidgetStateManager | null {
  const name = Object.keys(form).find((key) => key.startsWith(FIBER));
  let fiber: unknown = name === undefined ? null : (form as unknown as Record<string, unknown>)[name];
  for (let depth = 0; depth < MAX_DEPTH && isRecord(fiber); depth++) {
    const found = isRecord(fiber.memoizedProps) ? fiber.memoizedProps.widgetMgr : undefined;
    if (isManager(found)) {
      return found;
    }
    fiber = fiber.return;
  }
  return null;
}

function isManager(value: unknown): value is WidgetStateManager {
  return isRecord(value) && isWidgetStates(value.widgetStates) && value.forms instanceof Map;
}

function isWidgetStates(value: unknown): value is WidgetStates {
  return isRecord(value) && value.widgetStates instanceof Map && typeof value.deleteState === "function";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** Return whether draft and sent state are equal. A field that mounts again stores its draft in both places. */
function isEqual(draft: WidgetState, sent: WidgetState | undefined): boolean {
  return JSON.stringify(draft) === JSON.stringify(sent);
}
