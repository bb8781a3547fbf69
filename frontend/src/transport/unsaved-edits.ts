/**
 * What of this tab the room server has committed.
 *
 * *UnsavedEdits* means that the server said so, and only that: an update that was sent is not saved, and neither is one whose
 * connection closed before the answer. One question is under way at a time; what changes meanwhile is asked for by the
 * next one, so that fast typing costs one small message per round trip.
 *
 * The first question of a connection waits until the tab has answered the server's own question for what it lacks:
 * asked sooner, the server would call saved what it has not received. No I/O: the connection passes in how to ask.
 */
import type { Clock } from "../clock";
import type { Level, SessionHeader } from "./frame";
import type { SavedAnswer } from "./protocol";

/** A server that has not answered the first question by then is not one of ours, and never will. */
const SILENT_AFTER_MS = 10_000;

interface Question {
  readonly version: number;
  /** How much of its session the tab had when it asked. */
  readonly session: number | null;
  readonly seen: number;
  readonly checks: number;
}

export class UnsavedEdits {
  /** Of the server's last answer. */
  level: Level = 0;
  failing = false;
  /** The server does not say what it has saved. */
  isSilent = false;
  private version = 0;
  private confirmed = 0;
  private session: number | null = null;
  private seen = 0;
  private seenSaved = 0;
  private checks = 0;
  private checked = 0;
  private readonly keys = new Map<string, number>();
  private ask: ((version: number) => void) | null = null;
  private question: Question | null = null;
  private isDue = false;
  private isDenied = false;
  private cancelSilence: () => void = nothing;

  /** `onChange`: called when something above or below may have changed. */
  constructor(
    private readonly clock: Clock,
    private readonly onChange: () => void,
  ) {}

  /** How many updates are not confirmed. */
  get unsaved(): number {
    return this.version - this.confirmed;
  }

  /** Nothing is missing: all that the tab and its session had to say is committed. */
  get isSettled(): boolean {
    return this.unsaved === 0 && this.seenSaved === this.seen;
  }

  /** The keys that those updates changed, oldest first. */
  get unsavedKeys(): string[] {
    return [...this.keys.keys()];
  }

  /** Version of the session up to which everything is committed. */
  get sessionVersion(): number {
    return this.seenSaved;
  }

  /** An update is on its way to the server, or will be with the next connection. */
  note(keys: Iterable<string>): void {
    this.version += 1;
    for (const key of keys) {
      this.keys.delete(key);
      this.keys.set(key, this.version);
    }
    this.want();
  }

  /** Everything of `session` up to `seen` is in the tab's document. */
  noteSession(session: number, seen: number): void {
    if (session !== this.session) {
      this.session = session;
      this.seen = 0;
      this.seenSaved = 0;
    }
    if (seen > this.seen) {
      this.seen = seen;
      this.want();
    }
  }

  /** Ask once more, whether or not anything has changed here. */
  check(): void {
    this.checks += 1;
    this.want();
  }

  /** Whether a question that was asked after the last `check` has been answered: all is committed. */
  get isChecked(): boolean {
    return this.checked === this.checks;
  }

  /** The server has been sent all that it lacked; `ask` sends a question behind that. */
  open(ask: (version: number) => void): void {
    this.ask = ask;
    this.question = null;
    this.want();
  }

  /** The connection is gone, and the answer with it. */
  close(): void {
    this.ask = null;
    this.question = null;
    this.isDenied = false;
    this.cancelSilence();
    this.onChange();
  }

  /** The server takes nothing from this tab: on this connection no answer means that something was saved. */
  deny(): void {
    this.isDenied = true;
    this.onChange();
  }

  answer(answer: SavedAnswer): void {
    this.cancelSilence();
    this.isSilent = false;
    this.level = answer.level;
    this.failing = answer.outcome === "failing";
    const question = this.question;
    if (question !== null && answer.outcome === "saved" && answer.version === question.version) {
      this.question = null;
      this.confirm(question);
      this.askSoon();
    }
    this.onChange();
  }

  private confirm({ version, session, seen, checks }: Question): void {
    if (this.isDenied) {
      return;
    }
    this.confirmed = Math.max(this.confirmed, version);
    this.checked = Math.max(this.checked, checks);
    if (session === this.session) {
      this.seenSaved = Math.max(this.seenSaved, seen);
    }
    for (const [key, changedAt] of this.keys) {
      if (changedAt <= version) {
        this.keys.delete(key);
      }
    }
  }

  private want(): void {
    this.isDue = true;
    this.askSoon();
    this.onChange();
  }

  /** After the current task, by which all that happens in it has been sent. */
  private askSoon(): void {
    if (this.isDue && this.ask !== null && this.question === null) {
      this.clock.soon(() => {
        this.askNow();
      });
    }
  }

  private askNow(): void {
    if (!this.isDue || this.ask === null || this.question !== null) {
      return;
    }
    this.isDue = false;
    const { version, session, seen, checks } = this;
    this.question = { version, session, seen, checks };
    if (this.level === 0) {
      this.cancelSilence();
      this.cancelSilence = this.clock.after(SILENT_AFTER_MS, () => {
        this.isSilent = true;
        this.onChange();
      });
    }
    this.ask(this.version);
  }
}

function nothing(): void {
  // Nothing is scheduled.
}

/**
 * What a session with its own way into the room says of its edits, held against what the server shows and answers.
 *
 * A frame is made while its edits are being committed, and none follows when they are: a run for each edit would be too
 * dear. The server's next answer covers them, if the room took them in, and then the tab has been shown them. What it was
 * not shown the room may have refused: only then the session is asked, once for each of its versions.
 */
export class SessionUnsavedEdits {
  /** Edits that are not saved, as far as one can tell here. */
  unsaved = 0;
  private session: number | null = null;
  private version = 0;
  private askedFor = -1;
  private wasShown = false;

  /** `ask`: the session should say again how many are unsaved. */
  constructor(private readonly ask: () => void) {}

  /** An edit of the session has reached this tab. */
  show(): void {
    this.wasShown = true;
  }

  /** Take over what a frame says; true if the server should be asked. */
  follow(header: SessionHeader): boolean {
    if (header.id !== this.session) {
      this.session = header.id;
      this.askedFor = -1;
    }
    this.version = header.v;
    this.unsaved = header.wants_saved ? 0 : header.unsaved;
    if (this.unsaved === 0) {
      this.wasShown = false;
    }
    return this.unsaved > 0;
  }

  /** The server has committed all that it had taken in when it was asked, after the last frame. */
  settle(): void {
    if (this.unsaved === 0) {
      return;
    }
    if (this.wasShown) {
      this.unsaved = 0;
      this.wasShown = false;
    } else if (this.version !== this.askedFor) {
      this.askedFor = this.version;
      this.ask();
    }
  }
}
