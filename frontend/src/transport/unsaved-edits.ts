/**
 * Edits that the room server has not committed yet.
 *
 * *Saved* means that the server confirmed the commit. An update that was only sent is not saved, and neither is one whose
 * connection closed before the answer. One query is in flight at a time, and the next one covers everything that changed
 * meanwhile, so that fast typing costs one small message per round trip.
 *
 * The first query of a connection follows the tab's answer to the server's sync step 1. An earlier query would report edits
 * as saved that the server has not received. No I/O: the connection passes in the function that sends a query.
 */
import { Timer } from "../clock";
import type { Clock } from "../clock";
import type { SessionHeader } from "./frame";
import type { StoreLevel } from "./protocol";
import type { SavedAnswer } from "./protocol";

/** Limit for the first answer of a connection. A server that exceeds it does not support the query. */
const SILENT_AFTER_MS = 10_000;

/** Sends a query with the tab's version. */
export type SendQuery = (version: number) => void;

/** State that a query covers: the tab's version, the session's version in the tab, and the number of checks. */
interface Query {
  readonly version: number;
  readonly session: number | null;
  readonly receivedVersion: number;
  readonly checks: number;
}

export class UnsavedEdits {
  /** Of the server's last answer. */
  level: StoreLevel = 0;
  isFailing = false;
  /** The server does not report what it has saved. */
  isSilent = false;
  private version = 0;
  private savedVersion = 0;
  private session: number | null = null;
  private receivedVersion = 0;
  private sessionSavedVersion = 0;
  private orphanedVersion = 0;
  private readonly orphaned = new Set<string>();
  private checks = 0;
  private answeredChecks = 0;
  /** Version of the last change of each unsaved key, oldest first. */
  private readonly versions = new Map<string, number>();
  private send: SendQuery | null = null;
  private inFlight: Query | null = null;
  private isDue = false;
  private isDenied = false;
  private readonly silence: Timer;

  /** `onChange`: called after each change of the members below and above. */
  constructor(
    private readonly clock: Clock,
    private readonly onChange: () => void,
  ) {
    this.silence = new Timer(clock);
  }

  /** Number of updates that are not committed. */
  get count(): number {
    return this.version - this.savedVersion;
  }

  /** Keys that those updates changed, oldest change first. */
  get keys(): string[] {
    return [...this.versions.keys()];
  }

  /** Keys of the unsaved edits of former sessions. Only this tab has these edits. */
  get orphanedKeys(): string[] {
    return this.savedVersion < this.orphanedVersion ? this.keys.filter((key) => this.orphaned.has(key)) : [];
  }

  /** Version of the session up to which everything is committed. */
  get savedSessionVersion(): number {
    return this.sessionSavedVersion;
  }

  /** Everything of the tab and of its session is committed. */
  get isAllSaved(): boolean {
    return this.count === 0 && this.sessionSavedVersion === this.receivedVersion;
  }

  /** The server has answered a query that was sent after the last `check()`. */
  get isChecked(): boolean {
    return this.answeredChecks === this.checks;
  }

  /** Count an update that the socket sends now or after the next connect. */
  add(keys: Iterable<string>): void {
    this.version += 1;
    for (const key of keys) {
      this.versions.delete(key);
      this.versions.set(key, this.version);
    }
    this.requestQuery();
  }

  /** Note that the tab's document contains everything of `session` up to `version`. */
  receiveFrom(session: number, version: number): void {
    if (session !== this.session) {
      this.orphan();
      this.session = session;
      this.receivedVersion = 0;
      this.sessionSavedVersion = 0;
    }
    if (version > this.receivedVersion) {
      this.receivedVersion = version;
      this.requestQuery();
    }
  }

  private orphan(): void {
    const { orphanedKeys } = this;
    this.orphaned.clear();
    if (this.session !== null) {
      this.orphanedVersion = this.version;
      for (const key of [...orphanedKeys, ...this.keys]) {
        this.orphaned.add(key);
      }
    }
  }

  /** Send one more query, even if nothing changed. */
  check(): void {
    this.checks += 1;
    this.requestQuery();
  }

  /** The tab has answered sync step 1 of a new connection. `send` sends a query behind that answer. */
  open(send: SendQuery): void {
    this.send = send;
    this.inFlight = null;
    this.requestQuery();
  }

  /** The connection is closed, so the query in flight has no answer. */
  close(): void {
    this.send = null;
    this.inFlight = null;
    this.isDenied = false;
    this.silence.cancel();
    this.onChange();
  }

  /** The server takes no updates from this tab. No answer on this connection confirms anything. */
  deny(): void {
    this.isDenied = true;
    this.onChange();
  }

  receive(answer: SavedAnswer): void {
    this.silence.cancel();
    this.isSilent = false;
    this.level = answer.level;
    this.isFailing = answer.status === "failing";
    const query = this.inFlight;
    if (query !== null && answer.status === "saved" && answer.version === query.version) {
      this.inFlight = null;
      this.confirm(query);
      this.scheduleQuery();
    }
    this.onChange();
  }

  private confirm({ version, session, receivedVersion, checks }: Query): void {
    if (this.isDenied) {
      return;
    }
    this.savedVersion = Math.max(this.savedVersion, version);
    this.answeredChecks = Math.max(this.answeredChecks, checks);
    if (session === this.session) {
      this.sessionSavedVersion = Math.max(this.sessionSavedVersion, receivedVersion);
    }
    for (const [key, changedAt] of this.versions) {
      if (changedAt <= version) {
        this.versions.delete(key);
      }
    }
  }

  private requestQuery(): void {
    this.isDue = true;
    this.scheduleQuery();
    this.onChange();
  }

  /** Send the query after the current task, behind everything that this task sends. */
  private scheduleQuery(): void {
    if (this.isDue && this.send !== null && this.inFlight === null) {
      this.clock.soon(() => {
        this.sendQuery();
      });
    }
  }

  private sendQuery(): void {
    if (!this.isDue || this.send === null || this.inFlight !== null) {
      return;
    }
    this.isDue = false;
    const { version, session, receivedVersion, checks } = this;
    this.inFlight = { version, session, receivedVersion, checks };
    if (this.level === 0) {
      this.silence.start(SILENT_AFTER_MS, () => {
        this.isSilent = true;
        this.onChange();
      });
    }
    this.send(version);
  }
}

/**
 * Unsaved edits of a session with a local connection to the room, derived from its frames and the server's answers.
 *
 * A frame reports edits that are being committed. No frame follows the commit, because each would cost a script run. The
 * server's next answer covers these edits if the room accepted them, and then the tab has received them too. The room may
 * have rejected edits that the tab did not receive. Only then the session is asked, once for each of its versions.
 */
export class SessionUnsavedEdits {
  /** Edits that are not saved, as far as the tab can tell. */
  count = 0;
  private session: number | null = null;
  private version = 0;
  private requestedAtVersion = -1;
  private hasReceivedEdit = false;

  /** `request`: ask the session to report its unsaved edits again. */
  constructor(private readonly request: () => void) {}

  /** An edit of the session has reached the tab. */
  onEdit(): void {
    this.hasReceivedEdit = true;
  }

  /** Store the report of a frame. Returns whether to query the server. */
  update(header: SessionHeader): boolean {
    if (header.id !== this.session) {
      this.session = header.id;
      this.requestedAtVersion = -1;
    }
    this.version = header.v;
    this.count = header.wants_saved ? 0 : header.unsaved;
    if (this.count === 0) {
      this.hasReceivedEdit = false;
    }
    return this.count > 0;
  }

  /** The server has committed everything that it had received when it was queried, after the last frame. */
  onAllSaved(): void {
    if (this.count === 0) {
      return;
    }
    if (this.hasReceivedEdit) {
      this.count = 0;
      this.hasReceivedEdit = false;
    } else if (this.version !== this.requestedAtVersion) {
      this.requestedAtVersion = this.version;
      this.request();
    }
  }
}
