/**
 * The drafts in the page's forms, of which the page tells nobody before the form is submitted.
 *
 * A value that a script writes into a field with a draft is shown, and the draft is submitted: Streamlit keeps the two in
 * different places. So each frame names the fields that have drafts, and the session does not write into those. Where a
 * draft and a value have crossed, the draft is dropped: what is shown is what is submitted (P7).
 *
 * What is where, only Streamlit's own objects tell. This is the one file that looks at them; names that are not its public
 * ones are kept in `Manager`. Without them a page behaves as it does without us.
 */
import type { Clock } from "../clock";

const FORM = "[data-testid='stForm']";
const FIBER = "__reactFiber$";
/** The form's component has the manager, and is next to its outermost element. */
const MAX_DEPTH = 16;
const EVENTS = ["pointerdown", "click", "keydown", "input", "change", "focusout"];
/** A slider tells of its value when it has been still for 200 ms. */
const SLOW_FIELD_MS = 400;
/** As many as the session reads. */
const MAX_NAMED = 256;
const ID_BEFORE_KEY = /^\$\$ID-[^-]*-/;
const TEXT_FIELD = "textarea, input[type='text']";

/** What a field holds, in one of many properties: a text in `stringValue`. */
interface Held {
  readonly stringValue?: string | null;
}

interface HeldById {
  readonly widgetStates: ReadonlyMap<string, Held>;
  deleteState(id: string): void;
}

interface FormState {
  readonly clearOnSubmit: boolean;
  readonly widgetStates: HeldById;
}

/** Streamlit's WidgetStateManager (1.65 to 1.67): what was sent of each widget, and by form what was not. */
interface Manager {
  readonly widgetStates: HeldById;
  readonly forms: ReadonlyMap<string, FormState>;
}

interface Seen {
  readonly draft: Held;
  readonly sent: Held | undefined;
}

export class FormDrafts {
  private manager: Manager | null = null;
  private isUnknown = false;
  private seen = new Map<string, Seen>();
  private named = "";
  private cancelLook: () => void = nothing;

  /** `onDraft` is called when a field has a draft that had none before, or the other way round. */
  constructor(
    private readonly page: Document,
    private readonly clock: Clock,
    private readonly onDraft: () => void,
  ) {
    for (const event of EVENTS) {
      page.addEventListener(event, this.act, true);
    }
  }

  destroy(): void {
    for (const event of EVENTS) {
      this.page.removeEventListener(event, this.act, true);
    }
    this.cancelLook();
  }

  /** Ids of the elements with a draft that is not to be written over. A form that is cleared shows nobody's values. */
  unsubmitted(): string[] {
    this.mend();
    const ids: string[] = [];
    for (const form of this.find()?.forms.values() ?? []) {
      if (!form.clearOnSubmit) {
        ids.push(...form.widgetStates.widgetStates.keys());
      }
    }
    const named = ids.slice(0, MAX_NAMED);
    this.named = named.join("\n");
    return named;
  }

  /** Before the page's own listeners, so that what they submit is what is shown; and again once they have run. */
  private readonly act = (): void => {
    this.mend();
    this.cancelLook();
    const cancelSoon = this.clock.after(0, this.look);
    const cancelLater = this.clock.after(SLOW_FIELD_MS, this.look);
    this.cancelLook = () => {
      cancelSoon();
      cancelLater();
    };
  };

  private readonly look = (): void => {
    const before = this.named;
    this.unsubmitted();
    if (this.named !== before) {
      this.onDraft();
    }
  };

  /** Drop each draft over which a value was shown: the draft is the one of before, and what was sent is another. */
  private mend(): void {
    const manager = this.find();
    const seen = new Map<string, Seen>();
    for (const form of manager?.forms.values() ?? []) {
      for (const [id, draft] of [...form.widgetStates.widgetStates]) {
        const sent = manager?.widgetStates.widgetStates.get(id);
        const before = this.seen.get(id);
        const isOlder = before?.draft === draft && before.sent !== sent && !isAlike(draft, sent);
        if (isOlder && !this.isShown(id, draft)) {
          form.widgetStates.deleteState(id);
        } else {
          seen.set(id, { draft, sent });
        }
      }
    }
    this.seen = seen;
  }

  /** A text field that is being written in goes on to show its draft. */
  private isShown(id: string, draft: Held): boolean {
    const name = id
      .replace(ID_BEFORE_KEY, "")
      .trim()
      .replace(/[^a-zA-Z0-9_-]/g, "-");
    const widget = this.page.querySelector(`.st-key-${CSS.escape(name)}`);
    const field = widget?.querySelector<HTMLInputElement | HTMLTextAreaElement>(TEXT_FIELD);
    return typeof draft.stringValue === "string" && field?.value === draft.stringValue;
  }

  private find(): Manager | null {
    const form = this.manager === null ? this.page.querySelector(FORM) : null;
    if (form !== null && !this.isUnknown) {
      this.manager = managerAround(form);
      this.isUnknown = this.manager === null;
      if (this.isUnknown) {
        console.warn(
          "streamlit-crdt: drafts in forms are not protected, because this Streamlit is not known",
        );
      }
    }
    return this.manager;
  }
}

function managerAround(form: Element): Manager | null {
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

function isManager(value: unknown): value is Manager {
  return isRecord(value) && isHeldById(value.widgetStates) && value.forms instanceof Map;
}

function isHeldById(value: unknown): value is HeldById {
  return isRecord(value) && value.widgetStates instanceof Map && typeof value.deleteState === "function";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** A field that is drawn anew tells of its draft as if it had been sent. */
function isAlike(draft: Held, sent: Held | undefined): boolean {
  return JSON.stringify(draft) === JSON.stringify(sent);
}

function nothing(): void {
  // Nothing is scheduled.
}
