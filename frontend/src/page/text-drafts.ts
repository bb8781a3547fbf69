/**
 * Which text each open draft was begun on.
 *
 * Streamlit keeps what somebody is typing when the script writes another text into the widget. What is committed then
 * differs from both, and only the page knows from which text it was made. So each frame names the texts that drafts were
 * begun on, by widget and digest; the session, which knows the texts that it has shown, finds it among them.
 *
 * Streamlit sends a commit a moment after it is made. A script's text that comes within that moment is put over it, and
 * the commit is never sent. So each frame also repeats the commits that something was put over; the session knows which
 * of them it has had.
 */
import { toHexString } from "lib0/buffer";
import { digest } from "lib0/hash/sha256";

import type { Clock } from "../clock";
import type { Begun, Overwritten } from "../transport/frame";

const CLASS_PREFIX = "st-key-";
const FIELDS = "textarea, input[type=text]";
/** What was just committed is still on its way to the session. */
const KEPT_AFTER_COMMIT_MS = 3_000;
/** What was put over a commit is confirmed by then, and that frame repeats the commit. */
const KEPT_IF_OVERWRITTEN_MS = 10_000;
/**
 * So long after a commit it is looked whether something was put over it. The page may have sent that in its place, as if it
 * were confirmed, and then the session asks for no frame.
 */
const LOOKS_AFTER_MS = [500, 1_500, 4_000];
/** Nobody writes in more fields at once. */
const MAX_DRAFTS = 16;
/** A header holds a mebibyte; longer texts are not repeated. */
const MAX_OVERWRITTEN_CHARS = 100_000;
/** What is written in a form is nobody else's until the form is submitted, and that is sent at once. */
const FORM = "[data-testid='stForm']";
const DIGEST_BYTES = 8;

type Field = HTMLTextAreaElement | HTMLInputElement;

interface Draft {
  readonly base: string;
  readonly number: number;
  closed_ms: number | null;
}

interface Commit {
  readonly field: Field;
  readonly name: string;
  readonly base: string;
  readonly text: string;
  readonly at_ms: number;
  wasOverwritten: boolean;
  wasTold: boolean;
}

export class TextDrafts {
  private readonly drafts = new Map<Field, Draft>();
  private newest = 0;
  private commits: Commit[] = [];
  private isDestroyed = false;

  /** `onOverwritten` is called when something was put over a commit, and no frame has told of it. */
  constructor(
    private readonly page: Document,
    private readonly clock: Clock,
    private readonly onOverwritten: () => void = nothing,
  ) {
    page.addEventListener("beforeinput", this.begin, true);
    page.addEventListener("focusout", this.close, true);
    page.addEventListener("keydown", this.commit, true);
  }

  destroy(): void {
    this.page.removeEventListener("beforeinput", this.begin, true);
    this.page.removeEventListener("focusout", this.close, true);
    this.page.removeEventListener("keydown", this.commit, true);
    this.drafts.clear();
    this.commits = [];
    this.isDestroyed = true;
  }

  /** What each open draft was begun on, or one committed a moment ago, by its widget's class name. */
  bases(): Record<string, Begun> {
    const oldest = this.clock.now_ms - KEPT_AFTER_COMMIT_MS;
    for (const [field, draft] of this.drafts) {
      if (!field.isConnected || (draft.closed_ms !== null && draft.closed_ms < oldest)) {
        this.drafts.delete(field);
      }
    }
    const newest = [...this.drafts].slice(-MAX_DRAFTS);
    return Object.fromEntries(
      newest.map(([field, { base, number }]) => [classOf(field), [digestOf(base), number]]),
    );
  }

  /** What was committed a moment ago and is not in its field any more, by its widget's class name. */
  overwritten(): Record<string, Overwritten> {
    const oldest = this.clock.now_ms - KEPT_IF_OVERWRITTEN_MS;
    this.commits = this.commits.filter(({ field, at_ms }) => field.isConnected && at_ms >= oldest);
    let left = MAX_OVERWRITTEN_CHARS;
    const found: Record<string, Overwritten> = {};
    for (const commit of [...this.commits].reverse()) {
      const { name, base, text } = commit;
      if (!(name in found) && isOverwritten(commit) && text.length <= left) {
        left -= text.length;
        found[name] = { base: digestOf(base), text };
        commit.wasTold = true;
      }
    }
    return found;
  }

  /** Another session begins: it is shown what the former one was sent, and must not take it once more. */
  forgetCommits(): void {
    this.commits = [];
  }

  /** Before the page's own handlers: the field still holds what it showed. */
  private readonly begin = (event: Event): void => {
    const field = fieldOf(event);
    for (const commit of this.commits) {
      commit.wasOverwritten ||= commit.field === field && field.value !== commit.text;
    }
    this.commits = this.commits.filter((commit) => commit.field !== field || commit.wasOverwritten);
    const draft = field === null ? undefined : this.drafts.get(field);
    if (field !== null && classOf(field) !== "" && (draft === undefined || draft.closed_ms !== null)) {
      this.drafts.delete(field); // the newest comes last
      this.newest = Math.max(this.newest + 1, this.clock.now_ms); // a page that is loaded again goes on from here
      this.drafts.set(field, { base: field.value, number: this.newest, closed_ms: null });
    }
  };

  private readonly close = (event: Event): void => {
    const field = fieldOf(event);
    const draft = field === null ? undefined : this.drafts.get(field);
    if (field !== null && draft?.closed_ms === null) {
      draft.closed_ms = this.clock.now_ms;
      this.noteCommit(field, draft.base, draft.closed_ms);
    }
  };

  private noteCommit(field: Field, base: string, at_ms: number): void {
    const text = field.value;
    if (text !== base && field.closest(FORM) === null) {
      const commit = {
        field,
        name: classOf(field),
        base,
        text,
        at_ms,
        wasOverwritten: false,
        wasTold: false,
      };
      this.commits.push(commit);
      this.commits.splice(0, this.commits.length - MAX_DRAFTS);
      for (const delay_ms of LOOKS_AFTER_MS) {
        this.clock.after(delay_ms, () => {
          this.look(commit);
        });
      }
    }
  }

  private look(commit: Commit): void {
    const isKept = !this.isDestroyed && this.commits.includes(commit);
    if (isKept && !commit.wasTold && isOverwritten(commit)) {
      this.onOverwritten();
    }
  }

  private readonly commit = (event: Event): void => {
    const { key, ctrlKey, metaKey } = event as KeyboardEvent;
    const field = fieldOf(event);
    if (field !== null && key === "Enter" && (ctrlKey || metaKey || field.tagName === "INPUT")) {
      this.close(event);
    }
  };
}

function isOverwritten({ field, text, wasOverwritten }: Commit): boolean {
  return wasOverwritten || field.value !== text;
}

function nothing(): void {
  // Nobody is told.
}

/** As the session digests what it has shown. */
export function digestOf(text: string): string {
  const bytes = new TextEncoder().encode(text.replaceAll("\r\n", "\n"));
  return toHexString(digest(bytes).subarray(0, DIGEST_BYTES));
}

/** What Streamlit makes of the key of the widget around a field; empty if it has none. */
function classOf(field: Field): string {
  const names = [...(field.closest(`[class*="${CLASS_PREFIX}"]`)?.classList ?? [])];
  return names.find((name) => name.startsWith(CLASS_PREFIX))?.slice(CLASS_PREFIX.length) ?? "";
}

function fieldOf(event: Event): Field | null {
  const { target } = event;
  return target instanceof Element && target.matches(FIELDS) ? (target as Field) : null;
}
