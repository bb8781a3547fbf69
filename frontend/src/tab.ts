/**
 * One mounted component: its replica, its channel to the session and its socket to the room, and what of the page they
 * depend on. `destroy` undoes all that the constructor did.
 */
import type { FrontendRendererArgs } from "@streamlit/component-v2-lib";

import { browserClock } from "./clock";
import { Replica } from "./document/replica";
import type { FrameError } from "./errors";
import { FormDrafts } from "./page/form-drafts";
import { hostElement, takeNoRoom } from "./page/layout";
import { askForRerun, watchReconnect } from "./page/lifecycle";
import { showNotice } from "./page/notice";
import { TextDrafts } from "./page/text-drafts";
import { RoomStatus } from "./room-status";
import { Channel } from "./transport/channel";
import { TRIGGER_NAME } from "./transport/frame";
import type { TabError } from "./transport/frame";
import { RoomSocket } from "./transport/room-socket";

export class Tab {
  private readonly host: Element;
  private readonly replica = new Replica();
  private readonly channel: Channel;
  private readonly socket: RoomSocket;
  private readonly standing: RoomStatus;
  private readonly drafts = new TextDrafts(document, browserClock, () => {
    this.channel.want("draft");
  });
  private readonly forms = new FormDrafts(document, browserClock, () => {
    this.channel.want("form");
  });
  private readonly undo: (() => void)[] = [];
  private readonly noticed = new Set<string>();
  private readonly logged = new Set<string>();
  private lastFrame: unknown = null;
  private room = "";

  constructor(private component: FrontendRendererArgs) {
    this.host = hostElement(component.parentElement);
    this.undo.push(takeNoRoom(this.host));
    this.standing = new RoomStatus({
      replica: this.replica,
      clock: browserClock,
      page: window,
      want: (why) => {
        this.channel.want(why);
      },
      onAccess: () => {
        this.socket.admit(this.standing);
      },
      onEnded: (unsaved) => {
        this.endHistory(unsaved);
      },
    });
    this.socket = new RoomSocket(
      this.replica,
      {
        ...this.standing.listener,
        onStatus: (status, synced) => {
          this.standing.setStatus(status);
          this.channel.setStatus(status, synced);
        },
        onDenied: () => {
          this.standing.denied();
          if (this.standing.role === "editor") {
            this.channel.report("denied");
          }
        },
        onError: (error, url) => {
          this.fail(error, url);
        },
      },
      location,
    );
    this.channel = new Channel({
      replica: this.replica,
      clock: browserClock,
      build: __BUILD__,
      send: (frame) => {
        this.component.setTriggerValue(TRIGGER_NAME, frame);
      },
      standing: () => this.standing.report(),
      drafts: () => this.drafts.bases(),
      overwritten: () => this.drafts.overwritten(),
      unsubmitted: () => this.forms.unsubmitted(),
      onOtherSession: () => {
        this.drafts.forgetCommits();
      },
      admits: (header) => {
        const isOurs = this.standing.admits(header);
        if (!isOurs) {
          this.channel.pause();
        }
        return isOurs;
      },
      onSession: (header, seen) => {
        this.room = header.room;
        this.standing.follow(header, seen);
        this.socket.aim(header.socket);
      },
      onSilence: () => {
        askForRerun(this.room);
      },
      onOldBuild: () => {
        this.askForReload();
      },
      onRefused: (error) => {
        this.logOnce(error);
      },
    });
    this.listenToPage();
    this.channel.open();
  }

  /** The host called again: with new data, a new theme, or a new fragment to send to. */
  update(component: FrontendRendererArgs): void {
    this.component = component;
    const frame = component.data;
    if (frame !== this.lastFrame && frame !== null && frame !== undefined) {
      this.lastFrame = frame;
      this.channel.receive(frame instanceof Uint8Array ? frame : new Uint8Array(0));
    }
  }

  destroy(): void {
    this.channel.pause();
    this.socket.destroy();
    this.standing.destroy();
    this.drafts.destroy();
    this.forms.destroy();
    this.replica.destroy();
    for (const undo of this.undo.splice(0)) {
      undo();
    }
  }

  private listenToPage(): void {
    this.undo.push(
      watchReconnect(() => {
        askForRerun(this.room);
      }),
    );
    const reportVisibility = (): void => {
      this.channel.setVisible(!document.hidden);
    };
    reportVisibility();
    this.listen(document, "visibilitychange", reportVisibility);
    this.listen(window, "pagehide", () => {
      this.channel.pause();
    });
    this.listen(window, "pageshow", (event) => {
      if ((event as PageTransitionEvent).persisted) {
        this.channel.resume();
      }
    });
  }

  private listen(target: EventTarget, type: string, listener: (event: Event) => void): void {
    target.addEventListener(type, listener);
    this.undo.push(() => {
      target.removeEventListener(type, listener);
    });
  }

  private fail(error: TabError, url: string): void {
    this.channel.report(error);
    if (error === "mixed-content") {
      this.notice(
        error,
        `This page is served by https, so the browser does not open ${url}. ` +
          "Use a wss:// server, or start the app with: streamlit-crdt run",
        "Close",
        () => undefined,
      );
    }
  }

  /** Two histories are not merged: this one stays as it is, for its person to see, until the page is loaded anew. */
  private endHistory(unsaved: readonly string[]): void {
    this.socket.end();
    this.channel.report("other-epoch");
    const text =
      unsaved.length === 0
        ? "This room was deleted. What you see and change now stays in this tab, until you leave the room or reload."
        : "This room was deleted. What you see and change now stays in this tab, until you leave the room or reload. " +
          "These edits were not saved; copy what you need:";
    this.notice(
      "other-epoch",
      text,
      "Reload",
      () => {
        this.standing.letGo();
        location.reload();
      },
      unsaved,
      "Stay",
    );
  }

  private askForReload(): void {
    this.notice(
      "old-build",
      "This tab runs an older version of streamlit-crdt. Reload the page.",
      "Reload",
      () => {
        location.reload();
      },
    );
  }

  /** Once per kind: a notice that was closed stays closed. */
  private notice(
    kind: string,
    text: string,
    button: string,
    onClick: () => void,
    items: readonly string[] = [],
    dismiss?: string,
  ): void {
    if (!this.noticed.has(kind)) {
      this.noticed.add(kind);
      this.undo.push(
        showNotice(this.host, {
          kind,
          text,
          items,
          button,
          onClick,
          ...(dismiss === undefined ? {} : { dismiss }),
        }),
      );
    }
  }

  private logOnce(error: FrameError): void {
    if (!this.logged.has(error.field)) {
      this.logged.add(error.field);
      console.warn(`streamlit-crdt: ${error.message}`, error.cause ?? "");
    }
  }
}
