/**
 * One mounted component: its replica, its channel to the session, its socket to the room, and its listeners in the page.
 * `destroy` undoes everything that the constructor did.
 */
import type { FrontendRendererArgs } from "@streamlit/component-v2-lib";

import { browserClock } from "./clock";
import { Replica } from "./document/replica";
import type { FrameError } from "./errors";
import { FormDrafts } from "./page/form-drafts";
import { hideContainer, hostElement } from "./page/layout";
import { requestRerun, watchReconnect } from "./page/lifecycle";
import { showNotice } from "./page/notice";
import type { Notice } from "./page/notice";
import { TextDrafts } from "./page/text-drafts";
import { RoomStatus } from "./room-status";
import type { RoomStatusListener } from "./room-status";
import { Channel } from "./transport/channel";
import type { ChannelListener } from "./transport/channel";
import { TRIGGER_NAME } from "./transport/frame";
import type { SessionHeader, Status, TabError } from "./transport/frame";
import { RoomSocket } from "./transport/room-socket";
import type { Access, SocketListener } from "./transport/room-socket";

const DELETED_TEXT =
  "This room was deleted. What you see and change now stays in this tab, until you leave the room or reload.";

const LOST_TEXT =
  "The room was renewed while this tab was offline, and the app was restarted. " +
  "These edits were not saved; copy what you need:";

export class Tab implements ChannelListener, RoomStatusListener, SocketListener {
  private readonly host: Element;
  private readonly replica = new Replica();
  private readonly status: RoomStatus;
  private readonly socket: RoomSocket;
  private readonly channel: Channel;
  private readonly textDrafts: TextDrafts;
  private readonly formDrafts: FormDrafts;
  private readonly undo: (() => void)[] = [];
  private readonly shownNotices = new Set<string>();
  private readonly loggedFields = new Set<string>();
  private lastFrame: unknown = null;
  private room = "";

  constructor(private component: FrontendRendererArgs) {
    this.host = hostElement(component.parentElement);
    this.undo.push(hideContainer(this.host));
    this.textDrafts = new TextDrafts(document, browserClock, () => {
      this.channel.request("draft");
    });
    this.formDrafts = new FormDrafts(document, browserClock, () => {
      this.channel.request("form");
    });
    this.status = new RoomStatus(this.replica, browserClock, window, this);
    this.socket = new RoomSocket(this.replica, this.status, this, location);
    this.channel = new Channel({
      replica: this.replica,
      clock: browserClock,
      build: __BUILD__,
      send: (frame) => {
        this.component.setTriggerValue(TRIGGER_NAME, frame);
      },
      status: this.status,
      textDrafts: this.textDrafts,
      formDrafts: this.formDrafts,
      listener: this,
    });
    this.listenToPage();
    this.channel.open();
  }

  /** Process a further call of Streamlit: with new data, a new theme, or a new fragment to send to. */
  update(component: FrontendRendererArgs): void {
    this.component = component;
    const frame: unknown = component.data;
    if (frame !== this.lastFrame && frame !== null && frame !== undefined) {
      this.lastFrame = frame;
      this.channel.receive(frame instanceof Uint8Array ? frame : new Uint8Array(0));
    }
  }

  destroy(): void {
    this.channel.pause();
    this.socket.destroy();
    this.status.destroy();
    this.textDrafts.destroy();
    this.formDrafts.destroy();
    this.replica.destroy();
    for (const undo of this.undo.splice(0)) {
      undo();
    }
  }

  onFrame(header: SessionHeader, received: number): void {
    this.room = header.room;
    this.status.update(header, received);
    this.socket.connectTo(header.socket);
  }

  onSilence(): void {
    requestRerun(this.room);
  }

  onOldBuild(): void {
    this.notifyOnce({
      kind: "old-build",
      text: "This tab runs an older version of streamlit-crdt. Reload the page.",
      button: "Reload",
      onClick: () => {
        location.reload();
      },
    });
  }

  /** Log an error once for each invalid field. */
  onFrameError(error: FrameError): void {
    if (!this.loggedFields.has(error.field)) {
      this.loggedFields.add(error.field);
      console.warn(`streamlit-crdt: ${error.message}`, error.cause ?? "");
    }
  }

  requestFrame(why: "token" | "saved"): void {
    this.channel.request(why);
  }

  onAccessChange(access: Access): void {
    this.socket.setAccess(access);
  }

  /** Documents of two epochs are not merged. This one stays visible until the page is reloaded. */
  onRoomDeleted(unsaved: readonly string[]): void {
    this.socket.stop();
    this.channel.report("other-epoch");
    this.notifyOnce({
      kind: "other-epoch",
      text:
        unsaved.length === 0
          ? DELETED_TEXT
          : `${DELETED_TEXT} These edits were not saved; copy what you need:`,
      items: unsaved,
      button: "Reload",
      onClick: () => {
        this.status.allowUnload();
        location.reload();
      },
      dismiss: "Stay",
    });
  }

  onRoomRewritten(): void {
    this.socket.stop();
    this.channel.report("rewritten");
  }

  /** The notice outlives this tab, which the session replaces. */
  onEditsLost(unsaved: readonly string[]): void {
    showNotice(this.host, {
      kind: "edits-lost",
      text: LOST_TEXT,
      items: unsaved,
      button: "Close",
      onClick: () => undefined,
    });
  }

  onStatus(status: Status, isSynced: boolean): void {
    this.status.setStatus(status);
    this.channel.setStatus(status, isSynced);
  }

  onSyncing(isSyncing: boolean): void {
    this.channel.setSyncing(isSyncing);
  }

  onDenied(): void {
    this.status.onDenied();
    if (this.status.role === "editor") {
      this.channel.report("denied");
    }
  }

  onSocketError(error: TabError, url: string): void {
    this.channel.report(error);
    if (error === "mixed-content") {
      this.notifyOnce({
        kind: error,
        text:
          `The browser blocks ${url}, because this page is served by https. ` +
          "Use a wss:// server, or start the app with: streamlit-crdt run",
        button: "Close",
        onClick: () => undefined,
      });
    }
  }

  private listenToPage(): void {
    this.undo.push(
      watchReconnect(() => {
        requestRerun(this.room);
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

  /** Show a notice once for each kind. A notice that was closed stays closed. */
  private notifyOnce(notice: Notice): void {
    if (!this.shownNotices.has(notice.kind)) {
      this.shownNotices.add(notice.kind);
      this.undo.push(showNotice(this.host, notice));
    }
  }
}
