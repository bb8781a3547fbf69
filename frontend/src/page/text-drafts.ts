/**
 * Drafts in the page's text fields, and commits that another text has overwritten.
 *
 * Streamlit keeps a draft when the script writes another text into the widget. The commit then differs from both texts, and
 * only the page has the text that the draft was based on. Each frame therefore names the base of each draft by its digest.
 * The session finds that text among those that it has sent.
 *
 * Streamlit sends a commit shortly after the person makes it. A text of the script that arrives in between overwrites the
 * commit, which is then never sent. Each frame therefore repeats the overwritten commits. The session recognizes those that
 * it has received.
 */
import { toHexString } from "lib0/buffer";
import { digest } from "lib0/hash/sha256";

import type { Clock } from "../clock";
import type { DraftBase, Overwritten } from "../transport/frame";

const CLASS_PREFIX = "st-key-";
const FIELDS = "textarea, input[type=text]";
/** A base is reported this long after the commit, which may still be on its way to the session. */
const KEPT_AFTER_COMMIT_MS = 3_000;
/** A commit is checked and repeated this long. The confirmation of the text that overwrote it is sent within that time. */
const KEPT_IF_OVERWRITTEN_MS = 10_000;
/**
 * Delays after a commit at which it is checked. The page may have sent the overwriting text as if it were confirmed, and
 * then the session requests no frame.
 */
const CHECKS_AFTER_MS = [500, 1_500, 4_000];
/** Drafts and commits in a frame. The session accepts no more. */
const MAX_DRAFTS = 16;
/** Characters of all repeated commits in a frame. Each frame repeats them, so longer texts are not repeated. */
const MAX_OVERWRITTEN_CHARS = 100_000;
/** A draft in a form is private until it is submitted, and Streamlit sends that at once. */
const FORM = "[data-testid='stForm']";
const DIGEST_BYTES = 8;

type Field = HTMLTextAreaElement | HTMLInputElement;

interface Draft {
  readonly base: string;
  readonly number: number;
  closedAt_ms: number | null;
}

interface Commit {
  readonly field: Field;
  readonly name: string;
  readonly base: string;
  readonly text: string;
  readonly at_ms: number;
  wasOverwritten: boolean;
  wasReported: boolean;
}

export class TextDrafts {
  private readonly drafts = new Map<Field, Draft>();
  private lastNumber = 0;
  private commits: Commit[] = [];
  private isDestroyed = false;

  /** `onOverwritten`: called when a text has overwritten a commit that no frame has reported. */
  constructor(
    private readonly page: Document,
    private readonly clock: Clock,
    private readonly onOverwritten: () => void,
  ) {
    page.addEventListener("beforeinput", this.onBeforeInput, true);
    page.addEventListener("focusout", this.close, true);
    page.addEventListener("keydown", this.onKeyDown, true);
  }

  destroy(): void {
    this.page.removeEventListener("beforeinput", this.onBeforeInput, true);
    this.page.removeEventListener("focusout", this.close, true);
    this.page.removeEventListener("keydown", this.onKeyDown, true);
    this.drafts.clear();
    this.commits = [];
    this.isDestroyed = true;
  }

  /** Return the base of each open or recently committed draft, by the class name of its widget. */
  bases(): Record<string, DraftBase> {
    const oldest_ms = this.clock.now_ms - KEPT_AFTER_COMMIT_MS;
    for (const [field, draft] of this.drafts) {
      if (!field.isConnected || (draft.closedAt_ms !== null && draft.closedAt_ms < oldest_ms)) {
        this.drafts.delete(field);
      }
    }
    const newest = [...this.drafts].slice(-MAX_DRAFTS);
    return Object.fromEntries(
      newest.map(([field, { base, number }]) => [classOf(field), [digestOf(base), number]]),
    );
  }

  /** Return the recent commits that are no longer in their field, by the class name of the widget. */
  overwritten(): Record<string, Overwritten> {
    const oldest_ms = this.clock.now_ms - KEPT_IF_OVERWRITTEN_MS;
    this.commits = this.commits.filter(({ field, at_ms }) => field.isConnected && at_ms >= oldest_ms);
    let charsLeft = MAX_OVERWRITTEN_CHARS;
    const found: Record<string, Overwritten> = {};
    for (const commit of [...this.commits].reverse()) {
      const { name, base, text } = commit;
      if (!(name in found) && isOverwritten(commit) && text.length <= charsLeft) {
        charsLeft -= text.length;
        found[name] = { base: digestOf(base), text };
        commit.wasReported = true;
      }
    }
    return found;
  }

  /** Drop the commits: a new session shows what the former one received, and must not apply it again. */
  forgetCommits(): void {
    this.commits = [];
  }

  /** Begin a draft. Runs before the page's own handlers, so the field still has the text that it displayed. */
  private readonly onBeforeInput = (event: Event): void => {
    const field = fieldOf(event);
    for (const commit of this.commits) {
      commit.wasOverwritten ||= commit.field === field && field.value !== commit.text;
    }
    this.commits = this.commits.filter((commit) => commit.field !== field || commit.wasOverwritten);
    const draft = field === null ? undefined : this.drafts.get(field);
    if (field !== null && classOf(field) !== "" && (draft === undefined || draft.closedAt_ms !== null)) {
      this.drafts.delete(field); // so that the newest draft is last
      this.lastNumber = Math.max(this.lastNumber + 1, this.clock.now_ms); // also unique after a reload of the page
      this.drafts.set(field, { base: field.value, number: this.lastNumber, closedAt_ms: null });
    }
  };

  private readonly close = (event: Event): void => {
    const field = fieldOf(event);
    const draft = field === null ? undefined : this.drafts.get(field);
    if (field !== null && draft?.closedAt_ms === null) {
      draft.closedAt_ms = this.clock.now_ms;
      this.addCommit(field, draft.base, draft.closedAt_ms);
    }
  };

  private addCommit(field: Field, base: string, at_ms: number): void {
    const text = field.value;
    if (text !== base && field.closest(FORM) === null) {
      const name = classOf(field);
      const commit = { field, name, base, text, at_ms, wasOverwritten: false, wasReported: false };
      this.commits.push(commit);
      this.commits.splice(0, this.commits.length - MAX_DRAFTS);
      for (const delay_ms of CHECKS_AFTER_MS) {
        this.clock.after(delay_ms, () => {
          this.check(commit);
        });
      }
    }
  }

  private check(commit: Commit): void {
    const isKept = !this.isDestroyed && this.commits.includes(commit);
    if (isKept && !commit.wasReported && isOverwritten(commit)) {
      this.onOverwritten();
    }
  }

  private readonly onKeyDown = (event: Event): void => {
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

/** Return the digest of a text, equal to the session's digest of it. */
export function digestOf(text: string): string {
  const bytes = new TextEncoder().encode(text.replaceAll("\r\n", "\n"));
  return toHexString(digest(bytes).subarray(0, DIGEST_BYTES));
}

/** Return Streamlit's class name for the key of the widget around a field, "" if the widget has no key. */
function classOf(field: Field): string {
  const names = [...(field.closest(`[class*="${CLASS_PREFIX}"]`)?.classList ?? [])];
  return names.find((name) => name.startsWith(CLASS_PREFIX))?.slice(CLASS_PREFIX.length) ?? "";
}

function fieldOf(event: Event): Field | null {
  const { target } = event;
  return target instanceof Element && target.matches(FIELDS) ? (target as Field) : null;
}
