import { afterEach, describe, expect, it } from "vitest";
import * as Y from "yjs";

import { CHANNEL_ORIGIN, Replica } from "./document/replica";
import { watchStatus } from "./page/status-store";
import type { StatusState } from "./page/status-store";
import { RoomStatus } from "./room-status";
import { FakeClock, sessionHeader } from "./testing";
import { narrowHeader } from "./transport/frame";
import type { SaveStatus } from "./transport/protocol";

const EPOCH = "1".repeat(32);
const OTHER_EPOCH = "2".repeat(32);
const SESSION = 11;

const undo: (() => void)[] = [];

afterEach(() => {
  for (const step of undo.splice(0)) {
    step();
  }
});

function setUp() {
  const clock = new FakeClock();
  const replica = new Replica();
  replica.own = new Set([SESSION]);
  const listeners = new Set<unknown>();
  const requested: string[] = [];
  const lostEdits: (readonly string[])[] = [];
  const rewrites: (number | undefined)[] = [];
  const queries: number[] = [];
  let accessChanges = 0;
  const page = {
    addEventListener: (_type: string, listener: unknown) => listeners.add(listener),
    removeEventListener: (_type: string, listener: unknown) => listeners.delete(listener),
  };
  const status = new RoomStatus(replica, clock, page as never, {
    requestFrame: (why) => requested.push(why),
    onAccessChange: () => {
      accessChanges += 1;
    },
    onRoomDeleted: (unsaved) => lostEdits.push(unsaved),
    onRoomRewritten: () => rewrites.push(status.report().kept),
    onEditsLost: (unsaved) => lostEdits.push(unsaved),
  });
  let shown: StatusState | null = null;
  undo.push(
    watchStatus("r", (state) => {
      shown = state;
    }),
    () => {
      status.destroy();
    },
  );
  const session = new Y.Doc();
  session.clientID = SESSION;
  const other = new Y.Doc();
  other.clientID = 22;
  return {
    clock,
    replica,
    rewrites,
    status,
    requested,
    lostEdits,
    queries,
    accessChanges: () => accessChanges,
    shown: () => shown ?? expect.fail("the room has no status"),
    isGuarded: () => listeners.size > 0,
    /** Process a frame of the session in which it sets `entries`. */
    frame(fields: Record<string, unknown> = {}, entries: Record<string, unknown> = {}): boolean {
      const before = Y.encodeStateVector(session);
      for (const [key, value] of Object.entries(entries)) {
        session.getMap("state").set(key, value);
      }
      const header = narrowHeader(sessionHeader({ id: SESSION, ...fields }));
      if (!status.accepts(header)) {
        return false;
      }
      Y.applyUpdate(replica.doc, Y.encodeStateAsUpdate(session, before), CHANNEL_ORIGIN);
      status.update(header, header.v);
      clock.pass(0);
      return true;
    },
    /** Apply one edit of each author from the socket, in one update. */
    remote(...authors: ("session" | "other")[]): void {
      const docs = { session, other };
      for (const by of authors) {
        docs[by].getMap("state").set(by, docs[by].getMap("state").size);
      }
      const updates = authors.map((by) => Y.encodeStateAsUpdate(docs[by]));
      Y.applyUpdate(replica.doc, Y.mergeUpdates(updates), { origin: "socket" });
      clock.pass(0);
    },
    /** Apply a deletion of the session from the socket, with another author's edit if `withEdit`. */
    remoteDeletion(withEdit = false): void {
      const before = Y.encodeStateVector(session);
      session.getMap("state").delete("session");
      const updates = [Y.encodeStateAsUpdate(session, before)];
      if (withEdit) {
        other.getMap("state").set("other", 1);
        updates.push(Y.encodeStateAsUpdate(other));
      }
      Y.applyUpdate(replica.doc, Y.mergeUpdates(updates), { origin: "socket" });
      clock.pass(0);
    },
    connect(): void {
      status.setStatus("connected");
      status.onOpen((version) => queries.push(version));
      clock.pass(0);
    },
    answer(fields: { level?: 1 | 2; status?: SaveStatus; epoch?: string } = {}): void {
      const version = queries.at(-1) ?? expect.fail("no query was sent");
      status.onSaved({ version, level: 2, status: "saved", epoch: EPOCH, ...fields });
      clock.pass(0);
    },
    disconnect(wasRejected = false): void {
      status.onClose(wasRejected);
      status.setStatus("offline");
    },
  };
}

const NO_LOCAL_CONNECTION = { wants_saved: true };

describe("edits of a session without a local connection", () => {
  it("S5: count until they are committed, then the session gets a frame", () => {
    const { frame, connect, answer, status, requested, shown } = setUp();
    frame({ v: 3, ...NO_LOCAL_CONNECTION }, { a: 1 });
    connect();
    expect(status.report()).toMatchObject({ saved_v: 0, unsaved: 1 });
    expect(shown().unsaved).toBe(1);
    expect(requested).toEqual([]);
    answer();
    expect(requested).toContain("saved");
    expect(status.report()).toEqual({ saved_v: 3, unsaved: 0, failing: false, epoch: EPOCH, level: 2 });
    requested.length = 0;
    frame({ v: 3, ...NO_LOCAL_CONNECTION });
    expect(requested).toEqual([]);
  });

  it("are reported as saved only when all of them are", () => {
    const { frame, connect, answer, requested } = setUp();
    connect();
    frame({ v: 1, ...NO_LOCAL_CONNECTION }, { a: 1 });
    frame({ v: 2, ...NO_LOCAL_CONNECTION }, { a: 2 });
    answer();
    expect(requested).toEqual([]);
    answer();
    expect(requested).toContain("saved");
  });

  it("S4: a failing store and its recovery are reported at once", () => {
    const { frame, connect, answer, status, requested, shown } = setUp();
    connect();
    answer();
    frame({ v: 1, ...NO_LOCAL_CONNECTION }, { a: 1 });
    answer({ status: "failing" });
    expect(requested).toContain("saved");
    expect(status.report()).toMatchObject({ saved_v: 0, unsaved: 1, failing: true });
    expect(shown().isFailing).toBe(true);
    requested.length = 0;
    answer();
    expect(requested).toContain("saved");
    expect(status.report()).toMatchObject({ saved_v: 1, unsaved: 0, failing: false });
  });

  it("guard the page against unloading while they are unsaved", () => {
    const { frame, connect, answer, disconnect, isGuarded, status } = setUp();
    connect();
    answer();
    expect(isGuarded()).toBe(false);
    frame({ v: 1, ...NO_LOCAL_CONNECTION }, { a: 1 });
    expect(isGuarded()).toBe(true);
    disconnect();
    expect(isGuarded()).toBe(true);
    connect();
    answer();
    expect(isGuarded()).toBe(false);
    frame({ v: 2, ...NO_LOCAL_CONNECTION }, { a: 2 });
    status.destroy();
    expect(isGuarded()).toBe(false);
  });

  it("do not guard the page while connected to a silent server", () => {
    const { frame, connect, clock, isGuarded, disconnect, shown } = setUp();
    connect();
    frame({ v: 1, ...NO_LOCAL_CONNECTION }, { a: 1 });
    clock.pass(10_000);
    expect(shown().isSilent).toBe(true);
    expect(isGuarded()).toBe(false);
    disconnect();
    expect(isGuarded()).toBe(true);
  });
});

describe("edits of a session with a local connection", () => {
  it("do not count in a frame, and request no frame", () => {
    const { frame, status, requested, isGuarded, shown } = setUp();
    frame({ v: 3, poll_s: 1, unsaved: 2 }, { a: 1 });
    expect(status.report().unsaved).toBe(0);
    expect(isGuarded()).toBe(false);
    expect(shown().unsavedBySession).toBe(2);
    expect(requested).toEqual([]);
  });

  it("count from the socket's update until the commit, unlike others", () => {
    const { frame, connect, answer, remote, status, requested } = setUp();
    frame();
    connect();
    answer();
    remote("other");
    remote("other");
    expect(status.report().unsaved).toBe(0);
    remote("session");
    expect(status.report().unsaved).toBe(1);
    answer();
    expect(status.report().unsaved).toBe(0);
    expect(requested).toEqual([]);
  });
});

describe("edits of the session in an update from the socket", () => {
  function joined() {
    const tab = setUp();
    tab.frame();
    tab.connect();
    tab.answer();
    return tab;
  }

  it("S5: count in one update with another author's edit", () => {
    const { remote, status, answer, queries } = joined();
    remote("session", "other");
    expect(status.report().unsaved).toBe(1);
    expect(queries).toHaveLength(2);
    answer();
    expect(status.report().unsaved).toBe(0);
  });

  it.each([false, true])("S5: count if they only delete (with another author's edit: %s)", (withEdit) => {
    const { remote, remoteDeletion, status, answer } = joined();
    remote("session");
    answer();
    expect(status.report().unsaved).toBe(0);
    remoteDeletion(withEdit);
    expect(status.report().unsaved).toBe(1);
    answer();
    expect(status.report().unsaved).toBe(0);
  });
});

describe("unsaved edits that the session reports", () => {
  function joined() {
    const tab = setUp();
    tab.frame();
    tab.connect();
    tab.answer();
    return tab;
  }

  it("S5: count until the server has answered a later query", () => {
    const { remote, frame, answer, shown, requested, isGuarded } = joined();
    remote("session");
    answer();
    expect(shown()).toMatchObject({ unsaved: 0, unsavedBySession: 0 });
    remote("session");
    frame({ v: 2, unsaved: 1 });
    expect(shown().unsavedBySession).toBe(1);
    answer();
    answer();
    expect(shown()).toMatchObject({ unsaved: 0, unsavedBySession: 0 });
    expect(requested).toEqual([]);
    expect(isGuarded()).toBe(false);
  });

  it("S5: stay unsaved if the tab got no edit; the session is asked once", () => {
    const { frame, answer, shown, requested } = joined();
    frame({ v: 2, unsaved: 1 });
    answer();
    expect(shown().unsavedBySession).toBe(1);
    expect(requested).toEqual(["saved"]);
    frame({ v: 2, unsaved: 1, refused_edits: 1 });
    answer();
    expect(shown()).toMatchObject({ unsavedBySession: 1, refusedBySession: 1 });
    expect(requested).toEqual(["saved"]);
    frame({ v: 3, unsaved: 0 });
    expect(shown()).toMatchObject({ unsavedBySession: 0, refusedBySession: 0 });
  });

  it("S5: stay unsaved if the tab received only an earlier edit", () => {
    const { remote, frame, answer, shown } = joined();
    remote("session");
    frame({ v: 2, unsaved: 1 });
    answer();
    answer();
    expect(shown().unsavedBySession).toBe(0);
    frame({ v: 3, unsaved: 1 });
    answer();
    expect(shown().unsavedBySession).toBe(1);
  });

  it("are unknown for a session without a local connection", () => {
    const { frame, shown } = joined();
    frame({ v: 1, ...NO_LOCAL_CONNECTION });
    expect(shown().unsavedBySession).toBeNull();
  });
});

describe("a full room", () => {
  it("is shown until a connection opens", () => {
    const { frame, connect, disconnect, status, shown } = setUp();
    frame();
    connect();
    expect(shown().isFull).toBe(false);
    disconnect();
    status.onRoomFull();
    expect(shown()).toMatchObject({ isFull: true, status: "offline" });
    connect();
    expect(shown().isFull).toBe(false);
  });
});

describe("an edit of the tab itself", () => {
  it("counts for any session", () => {
    const { frame, replica, status } = setUp();
    frame();
    replica.doc.getMap("state").set("own", 1);
    expect(status.report().unsaved).toBe(1);
  });
});

describe("the role", () => {
  it("A1: of a viewer reports no unsaved edits and does not guard the page", () => {
    const { frame, replica, status, shown, isGuarded } = setUp();
    frame({ role: "viewer" });
    replica.doc.getMap("state").set("own", 1);
    expect(status.report().unsaved).toBe(0);
    expect(shown()).toMatchObject({ isViewer: true, unsaved: 0 });
    expect(isGuarded()).toBe(false);
  });

  it("A1: is viewer after a denial, and no edit is reported as saved", () => {
    const { frame, connect, answer, status, shown, disconnect } = setUp();
    connect();
    frame({ v: 1, ...NO_LOCAL_CONNECTION }, { a: 1 });
    status.onDenied();
    answer();
    answer();
    expect(shown().isViewer).toBe(true);
    expect(status.report().saved_v).toBe(0);
    disconnect();
    expect(shown()).toMatchObject({ isViewer: false, unsaved: 1 });
  });
});

describe("a rejected saved answer", () => {
  it("A1: is a denial, and later answers report no edit as saved", () => {
    const { frame, connect, answer, status, shown } = setUp();
    connect();
    frame({ v: 1, ...NO_LOCAL_CONNECTION }, { a: 1 });
    answer();
    answer({ status: "rejected" });
    expect(shown()).toMatchObject({ isViewer: true, isFailing: false });
    expect(status.report().saved_v).toBe(0);
  });
});

describe("a token", () => {
  it("A2: is passed on once, and requested after a rejected connection", () => {
    const { frame, status, accessChanges, requested, disconnect } = setUp();
    frame({ token: "one", token_expires_in_s: 600 });
    frame({ token: "one", token_expires_in_s: 590 });
    expect(accessChanges()).toBe(1);
    expect(status.token).toBe("one");
    disconnect(true);
    expect(requested).toEqual(["token"]);
  });

  it("A2: is requested again after a connection was open", () => {
    const { frame, connect, disconnect, requested } = setUp();
    frame({ token: "one", token_expires_in_s: 600 });
    disconnect(true);
    disconnect(true);
    expect(requested).toEqual(["token"]);
    connect();
    disconnect(true);
    expect(requested).toEqual(["token", "token"]);
  });
});

describe("the epoch of a room", () => {
  it("is taken from the server's answer for connection and session", () => {
    const { connect, answer, status, accessChanges } = setUp();
    connect();
    answer();
    expect(status.epoch).toBe(EPOCH);
    expect(accessChanges()).toBe(1);
    expect(status.report().epoch).toBe(EPOCH);
  });

  it("is ignored for rooms in memory, where a restart is not a deletion", () => {
    const { connect, answer, status, lostEdits } = setUp();
    connect();
    answer({ level: 1 });
    expect(status.epoch).toBeNull();
    answer({ level: 1, epoch: OTHER_EPOCH });
    expect(lostEdits).toEqual([]);
  });

  it("of a session is dropped when the server reports rooms in memory", () => {
    const { frame, connect, answer, status, accessChanges, lostEdits } = setUp();
    frame({ epoch: EPOCH });
    expect(status.epoch).toBe(EPOCH);
    connect();
    answer({ level: 1 });
    expect(status.epoch).toBeNull();
    expect(accessChanges()).toBe(2);
    expect(frame({ id: 12, epoch: OTHER_EPOCH })).toBe(true);
    expect(status.epoch).toBeNull();
    expect(lostEdits).toEqual([]);
  });

  it("is never merged with another, and unsaved edits are described", () => {
    const { frame, connect, answer, lostEdits, replica, shown, isGuarded, status } = setUp();
    frame({ epoch: EPOCH, v: 1, ...NO_LOCAL_CONNECTION }, { saved: 1 });
    connect();
    answer();
    frame({ v: 2, ...NO_LOCAL_CONNECTION }, { note: "mine", long: "x".repeat(201) });
    expect(frame({ epoch: OTHER_EPOCH, v: 3, ...NO_LOCAL_CONNECTION }, { theirs: 1 })).toBe(false);
    expect(lostEdits).toEqual([['note: "mine"', "long"].sort().reverse()]);
    expect(replica.doc.getMap("state").has("theirs")).toBe(false);
    expect(shown()).toMatchObject({ isEnded: true, status: "offline" });
    expect(isGuarded()).toBe(true);
    status.allowUnload();
    expect(isGuarded()).toBe(false);
  });

  it("N4: of a rewritten room reports once what the room has, and accepts no frame", () => {
    const { frame, lostEdits, rewrites, status, isGuarded } = setUp();
    frame({ epoch: EPOCH });
    status.onRewritten(17);
    expect(rewrites).toEqual([17]);
    expect(frame({ epoch: OTHER_EPOCH }, { a: 1 })).toBe(false);
    expect(lostEdits).toEqual([]);
    expect(isGuarded()).toBe(false);
  });

  it("N4: of a rewritten room names the edits of a session that has ended before", () => {
    const { connect, frame, lostEdits, status } = setUp();
    connect();
    frame({ epoch: EPOCH, v: 1, wants_saved: true }, { a: 1 });
    frame({ id: 12, epoch: EPOCH, v: 1, wants_saved: true });
    frame({ id: 12, epoch: EPOCH, v: 2, wants_saved: true }, { b: 2 });
    status.onRewritten(0);
    expect(lostEdits).toEqual([[expect.stringContaining("a")]]);
    expect(frame({ id: 12 })).toBe(false);
    expect(lostEdits).toHaveLength(1);
  });

  it("N4: of a rewritten room names all unsaved edits to a new session, once", () => {
    const { frame, lostEdits, status } = setUp();
    frame({ epoch: EPOCH, v: 1, wants_saved: true }, { a: 1 });
    status.onRewritten(17);
    expect([lostEdits, status.isRewritten, status.report().kept]).toEqual([[], true, 17]);
    expect(frame({ id: 12 })).toBe(false);
    expect(frame({ id: 12 })).toBe(false);
    expect([lostEdits.length, status.report().kept]).toEqual([1, 0]);
  });

  it("ends once, by another epoch in an answer or by the close code", () => {
    const { connect, answer, lostEdits, status } = setUp();
    connect();
    answer();
    answer({ epoch: OTHER_EPOCH });
    status.onEpochEnded();
    expect(lostEdits).toEqual([[]]);
  });

  it("does not end for a new session without an epoch", () => {
    const { frame, lostEdits } = setUp();
    frame({ epoch: EPOCH });
    expect(frame({ id: 12, epoch: null }, { a: 1 })).toBe(true);
    expect(lostEdits).toEqual([]);
  });

  it("after its end accepts only frames of the same epoch", () => {
    const { frame, status } = setUp();
    frame({ epoch: EPOCH });
    status.onEpochEnded();
    expect(frame({ epoch: EPOCH }, { a: 1 })).toBe(true);
    expect(frame({ epoch: null }, { b: 1 })).toBe(false);
    expect(frame({ epoch: OTHER_EPOCH }, { c: 1 })).toBe(false);
    expect(frame({ epoch: OTHER_EPOCH, deleted: true }, { d: 1 })).toBe(false);
  });

  it("if unknown, accepts frames of a session whose room was deleted", () => {
    const { frame, status } = setUp();
    status.onEpochEnded();
    expect(frame({ epoch: EPOCH }, { a: 1 })).toBe(false);
    expect(frame({ epoch: EPOCH, deleted: true }, { a: 1 })).toBe(true);
  });

  it("ends when the session reports that the room was deleted", () => {
    const { frame, lostEdits, shown } = setUp();
    frame({ epoch: EPOCH });
    frame({ epoch: EPOCH, deleted: true });
    expect(lostEdits).toEqual([[]]);
    expect(shown()).toMatchObject({ isEnded: true, status: "offline" });
  });
});

describe("a destroyed tab", () => {
  it("has no status and no timer", () => {
    const { frame, status, clock, connect } = setUp();
    frame({ token: "one", token_expires_in_s: 600 });
    connect();
    status.destroy();
    let state: StatusState | null | undefined;
    watchStatus("r", (now) => {
      state = now;
    })();
    expect(state).toBeNull();
    expect(clock.pending).toBe(0);
  });
});
