/**
 * What a session with its own way into the room says of its edits, held against what the server shows and answers.
 *
 * A frame is made while its edits are being committed, and none follows when they are: a run for each edit would be too
 * dear. The server's next answer covers them, if the room took them in, and then the tab has been shown them. What it was
 * not shown the room may have refused: only then the session is asked, once for each of its versions.
 */
import type { SessionHeader } from "./protocol";

export class SessionEdits {
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
