import { afterEach, describe, expect, it } from "vitest";
import * as Y from "yjs";

import { CHANNEL_ORIGIN, Replica } from "./document/replica";
import { watchStatus } from "./page/status-store";
import type { StatusState } from "./page/status-store";
import { RoomStatus } from "./room-status";
import { FakeClock, sessionHeader } from "./testing";
import { narrowHeader } from "./transport/frame";
import type { SavedOutcome } from "./transport/protocol";

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
  const wants: string[] = [];
  const ended: (readonly string[])[] = [];
  const asked: number[] = [];
  let accesses = 0;
  const standing = new RoomStatus({
    replica,
    clock,
    page: {
      addEventListener: (_type: string, listener: unknown) => listeners.add(listener),
      removeEventListener: (_type: string, listener: unknown) => listeners.delete(listener),
    } as never,
    want: (why) => wants.push(why),
    onAccess: () => {
      accesses += 1;
    },
    onEnded: (unsaved) => ended.push(unsaved),
  });
  let live: StatusState | null = null;
  undo.push(
    watchStatus("r", (state) => {
      live = state;
    }),
    () => {
      standing.destroy();
    },
  );
  const session = new Y.Doc();
  session.clientID = SESSION;
  const other = new Y.Doc();
  other.clientID = 22;
  return {
    clock,
    replica,
    standing,
    wants,
    ended,
    asked,
    accesses: () => accesses,
    live: () => live ?? expect.fail("no tab tells how the room stands"),
    isWarning: () => listeners.size > 0,
    /** A frame of the session, with what it set. */
    frame(fields: Record<string, unknown> = {}, entries: Record<string, unknown> = {}): boolean {
      const before = Y.encodeStateVector(session);
      for (const [key, value] of Object.entries(entries)) {
        session.getMap("state").set(key, value);
      }
      const header = narrowHeader(sessionHeader({ id: SESSION, ...fields }));
      if (!standing.admits(header)) {
        return false;
      }
      Y.applyUpdate(replica.doc, Y.encodeStateAsUpdate(session, before), CHANNEL_ORIGIN);
      standing.follow(header, header.v);
      clock.pass(0);
      return true;
    },
    /** An edit comes by the socket. */
    remote(...authors: ("session" | "other")[]): void {
      const docs = { session, other };
      for (const by of authors) {
        docs[by].getMap("state").set(by, docs[by].getMap("state").size);
      }
      const updates = authors.map((by) => Y.encodeStateAsUpdate(docs[by]));
      Y.applyUpdate(replica.doc, Y.mergeUpdates(updates), { origin: "socket" });
      clock.pass(0);
    },
    /** The session deletes what it wrote; the room shows it, with an edit of somebody else if there is one. */
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
      standing.setStatus("connected");
      standing.listener.onOpen((version) => asked.push(version));
      clock.pass(0);
    },
    answer(fields: { level?: 1 | 2; outcome?: SavedOutcome; epoch?: string } = {}): void {
      const version = asked.at(-1) ?? expect.fail("nothing was asked");
      standing.listener.onSaved({ version, level: 2, outcome: "saved", epoch: EPOCH, ...fields });
      clock.pass(0);
    },
    disconnect(wasRefused = false): void {
      standing.listener.onClose(wasRefused);
      standing.setStatus("offline");
    },
  };
}

const ONLY_WAY = { wants_saved: true };

describe("edits that only the tab brings to the server", () => {
  it("S5: count until the server has committed them, and the session is told then, once", () => {
    const { frame, connect, answer, standing, wants, live } = setUp();
    frame({ v: 3, ...ONLY_WAY }, { a: 1 });
    connect();
    expect(standing.report()).toMatchObject({ saved_v: 0, unsaved: 1 });
    expect(live().unsaved).toBe(1);
    expect(wants).toEqual([]);
    answer();
    expect(wants).toContain("saved");
    expect(standing.report()).toEqual({ saved_v: 3, unsaved: 0, failing: false, epoch: EPOCH, level: 2 });
    wants.length = 0;
    frame({ v: 3, ...ONLY_WAY });
    expect(wants).toEqual([]);
  });

  it("are not told as saved one by one while more are on their way", () => {
    const { frame, connect, answer, wants } = setUp();
    connect();
    frame({ v: 1, ...ONLY_WAY }, { a: 1 });
    frame({ v: 2, ...ONLY_WAY }, { a: 2 });
    answer();
    expect(wants).toEqual([]);
    answer();
    expect(wants).toContain("saved");
  });

  it("S4: a store that fails is told at once, and its recovery too", () => {
    const { frame, connect, answer, standing, wants, live } = setUp();
    connect();
    answer();
    frame({ v: 1, ...ONLY_WAY }, { a: 1 });
    answer({ outcome: "failing" });
    expect(wants).toContain("saved");
    expect(standing.report()).toMatchObject({ saved_v: 0, unsaved: 1, failing: true });
    expect(live().isFailing).toBe(true);
    wants.length = 0;
    answer();
    expect(wants).toContain("saved");
    expect(standing.report()).toMatchObject({ saved_v: 1, unsaved: 0, failing: false });
  });

  it("warn before the page is left, and only while there are any", () => {
    const { frame, connect, answer, disconnect, isWarning, standing } = setUp();
    connect();
    answer();
    expect(isWarning()).toBe(false);
    frame({ v: 1, ...ONLY_WAY }, { a: 1 });
    expect(isWarning()).toBe(true);
    disconnect();
    expect(isWarning()).toBe(true);
    connect();
    answer();
    expect(isWarning()).toBe(false);
    frame({ v: 2, ...ONLY_WAY }, { a: 2 });
    standing.destroy();
    expect(isWarning()).toBe(false);
  });

  it("do not warn where a connected server never tells what it has saved", () => {
    const { frame, connect, clock, isWarning, disconnect, live } = setUp();
    connect();
    frame({ v: 1, ...ONLY_WAY }, { a: 1 });
    clock.pass(10_000);
    expect(live().isSilent).toBe(true);
    expect(isWarning()).toBe(false);
    disconnect();
    expect(isWarning()).toBe(true);
  });
});

describe("edits that the session brings to the room itself", () => {
  it("do not count when they come by the channel, and cost no frame", () => {
    const { frame, standing, wants, isWarning, live } = setUp();
    frame({ v: 3, poll_s: 1, unsaved: 2 }, { a: 1 });
    expect(standing.report().unsaved).toBe(0);
    expect(isWarning()).toBe(false);
    expect(live().unsavedBySession).toBe(2);
    expect(wants).toEqual([]);
  });

  it("count from when the socket shows them until they are committed; those of others never do", () => {
    const { frame, connect, answer, remote, standing, wants } = setUp();
    frame();
    connect();
    answer();
    remote("other");
    remote("other");
    expect(standing.report().unsaved).toBe(0);
    remote("session");
    expect(standing.report().unsaved).toBe(1);
    answer();
    expect(standing.report().unsaved).toBe(0);
    expect(wants).toEqual([]);
  });
});

describe("edits of the session that the socket shows", () => {
  function joined() {
    const tab = setUp();
    tab.frame();
    tab.connect();
    tab.answer();
    return tab;
  }

  it("S5: count when they come in one update with somebody else's", () => {
    const { remote, standing, answer, asked } = joined();
    remote("session", "other");
    expect(standing.report().unsaved).toBe(1);
    expect(asked).toHaveLength(2);
    answer();
    expect(standing.report().unsaved).toBe(0);
  });

  it.each([false, true])("S5: count when they only delete (with somebody else's edit: %s)", (withEdit) => {
    const { remote, remoteDeletion, standing, answer } = joined();
    remote("session");
    answer();
    expect(standing.report().unsaved).toBe(0);
    remoteDeletion(withEdit);
    expect(standing.report().unsaved).toBe(1);
    answer();
    expect(standing.report().unsaved).toBe(0);
  });
});

describe("what the session says of edits that it brings to the room itself", () => {
  function joined() {
    const tab = setUp();
    tab.frame();
    tab.connect();
    tab.answer();
    return tab;
  }

  it("S5: holds until the server has answered a question that was asked after it", () => {
    const { remote, frame, answer, live, wants, isWarning } = joined();
    remote("session");
    answer();
    expect(live()).toMatchObject({ unsaved: 0, unsavedBySession: 0 });
    remote("session");
    frame({ v: 2, unsaved: 1 });
    expect(live().unsavedBySession).toBe(1);
    answer();
    answer();
    expect(live()).toMatchObject({ unsaved: 0, unsavedBySession: 0 });
    expect(wants).toEqual([]);
    expect(isWarning()).toBe(false);
  });

  it("S5: holds on if the socket never showed the edit; the session is asked, once", () => {
    const { frame, answer, live, wants } = joined();
    frame({ v: 2, unsaved: 1 });
    answer();
    expect(live().unsavedBySession).toBe(1);
    expect(wants).toEqual(["saved"]);
    frame({ v: 2, unsaved: 1, refused_edits: 1 });
    answer();
    expect(live()).toMatchObject({ unsavedBySession: 1, refusedBySession: 1 });
    expect(wants).toEqual(["saved"]);
    frame({ v: 3, unsaved: 0 });
    expect(live()).toMatchObject({ unsavedBySession: 0, refusedBySession: 0 });
  });

  it("S5: an edit that was shown before says nothing of one that came after", () => {
    const { remote, frame, answer, live } = joined();
    remote("session");
    frame({ v: 2, unsaved: 1 });
    answer();
    answer();
    expect(live().unsavedBySession).toBe(0);
    frame({ v: 3, unsaved: 1 });
    answer();
    expect(live().unsavedBySession).toBe(1);
  });

  it("is not asked of a session without a way of its own", () => {
    const { frame, live } = joined();
    frame({ v: 1, ...ONLY_WAY });
    expect(live().unsavedBySession).toBeNull();
  });
});

describe("a room that is full", () => {
  it("is shown as such until a connection opens", () => {
    const { frame, connect, disconnect, standing, live } = setUp();
    frame();
    connect();
    expect(live().isFull).toBe(false);
    disconnect();
    standing.listener.onFull();
    expect(live()).toMatchObject({ isFull: true, status: "offline" });
    connect();
    expect(live().isFull).toBe(false);
  });
});

describe("an edit made in the tab itself", () => {
  it("counts, whichever way the session has", () => {
    const { frame, replica, standing } = setUp();
    frame();
    replica.doc.getMap("state").set("own", 1);
    expect(standing.report().unsaved).toBe(1);
  });
});

describe("roles", () => {
  it("A1: a viewer has nothing unsaved and is not warned", () => {
    const { frame, replica, standing, live, isWarning } = setUp();
    frame({ role: "viewer" });
    replica.doc.getMap("state").set("own", 1);
    expect(standing.report().unsaved).toBe(0);
    expect(live()).toMatchObject({ isViewer: true, unsaved: 0 });
    expect(isWarning()).toBe(false);
  });

  it("A1: whom the server denies is shown as a viewer, and nothing is told as saved", () => {
    const { frame, connect, answer, standing, live, disconnect } = setUp();
    connect();
    frame({ v: 1, ...ONLY_WAY }, { a: 1 });
    standing.denied();
    answer();
    answer();
    expect(live().isViewer).toBe(true);
    expect(standing.report().saved_v).toBe(0);
    disconnect();
    expect(live()).toMatchObject({ isViewer: false, unsaved: 1 });
  });
});

describe("a refusal", () => {
  it("A1: in an answer stands for permission denied: the server says so once, and refuses what follows", () => {
    const { frame, connect, answer, standing, live } = setUp();
    connect();
    frame({ v: 1, ...ONLY_WAY }, { a: 1 });
    answer();
    answer({ outcome: "refused" });
    expect(live()).toMatchObject({ isViewer: true, isFailing: false });
    expect(standing.report().saved_v).toBe(0);
  });
});

describe("a token", () => {
  it("A2: goes to the socket when it is new, and is asked for when the server refuses", () => {
    const { frame, standing, accesses, wants, disconnect } = setUp();
    frame({ token: "one", token_expires_in_s: 600 });
    frame({ token: "one", token_expires_in_s: 590 });
    expect(accesses()).toBe(1);
    expect(standing.token).toBe("one");
    disconnect(true);
    expect(wants).toEqual(["token"]);
  });

  it("A2: that was refused may be asked for again once a connection has opened", () => {
    const { frame, connect, disconnect, wants } = setUp();
    frame({ token: "one", token_expires_in_s: 600 });
    disconnect(true);
    disconnect(true);
    expect(wants).toEqual(["token"]);
    connect();
    disconnect(true);
    expect(wants).toEqual(["token", "token"]);
  });
});

describe("the epoch of a room", () => {
  it("is learned from the server's answer, brought to the next connection and told to the session", () => {
    const { connect, answer, standing, accesses } = setUp();
    connect();
    answer();
    expect(standing.epoch).toBe(EPOCH);
    expect(accesses()).toBe(1);
    expect(standing.report().epoch).toBe(EPOCH);
  });

  it("is not held on to where rooms live in memory: a restart is no deletion, and tabs bring the room back", () => {
    const { connect, answer, standing, ended } = setUp();
    connect();
    answer({ level: 1 });
    expect(standing.epoch).toBeNull();
    answer({ level: 1, epoch: OTHER_EPOCH });
    expect(ended).toEqual([]);
  });

  it("that a session told is forgotten when the server says that it keeps rooms in memory", () => {
    const { frame, connect, answer, standing, accesses, ended } = setUp();
    frame({ epoch: EPOCH });
    expect(standing.epoch).toBe(EPOCH);
    connect();
    answer({ level: 1 });
    expect(standing.epoch).toBeNull();
    expect(accesses()).toBe(2);
    expect(frame({ id: 12, epoch: OTHER_EPOCH })).toBe(true);
    expect(standing.epoch).toBeNull();
    expect(ended).toEqual([]);
  });

  it("of another history: nothing of it is merged, and what was not saved is described", () => {
    const { frame, connect, answer, ended, replica, live, isWarning, standing } = setUp();
    frame({ epoch: EPOCH, v: 1, ...ONLY_WAY }, { saved: 1 });
    connect();
    answer();
    frame({ v: 2, ...ONLY_WAY }, { note: "mine", long: "x".repeat(201) });
    expect(frame({ epoch: OTHER_EPOCH, v: 3, ...ONLY_WAY }, { theirs: 1 })).toBe(false);
    expect(ended).toEqual([['note: "mine"', "long"].sort().reverse()]);
    expect(replica.doc.getMap("state").has("theirs")).toBe(false);
    expect(live()).toMatchObject({ isEnded: true, status: "offline" });
    expect(isWarning()).toBe(true);
    standing.letGo();
    expect(isWarning()).toBe(false);
  });

  it("another one in an answer ends it as well, and so does the server's word; told once", () => {
    const { connect, answer, ended, standing } = setUp();
    connect();
    answer();
    answer({ epoch: OTHER_EPOCH });
    standing.listener.onEnded();
    expect(ended).toEqual([[]]);
  });

  it("is not known to a session that begins: it takes over what the tab brings", () => {
    const { frame, ended } = setUp();
    frame({ epoch: EPOCH });
    expect(frame({ id: 12, epoch: null }, { a: 1 })).toBe(true);
    expect(ended).toEqual([]);
  });

  it("that has ended takes only frames of its own history", () => {
    const { frame, standing } = setUp();
    frame({ epoch: EPOCH });
    standing.end();
    expect(frame({ epoch: EPOCH }, { a: 1 })).toBe(true);
    expect(frame({ epoch: null }, { b: 1 })).toBe(false);
    expect(frame({ epoch: OTHER_EPOCH }, { c: 1 })).toBe(false);
    expect(frame({ epoch: OTHER_EPOCH, deleted: true }, { d: 1 })).toBe(false);
  });

  it("of which none is known goes on with a session that goes on alone", () => {
    const { frame, standing } = setUp();
    standing.end();
    expect(frame({ epoch: EPOCH }, { a: 1 })).toBe(false);
    expect(frame({ epoch: EPOCH, deleted: true }, { a: 1 })).toBe(true);
  });

  it("ends when the session says that its room was deleted", () => {
    const { frame, ended, live } = setUp();
    frame({ epoch: EPOCH });
    frame({ epoch: EPOCH, deleted: true });
    expect(ended).toEqual([[]]);
    expect(live()).toMatchObject({ isEnded: true, status: "offline" });
  });
});

describe("a tab that is gone", () => {
  it("no longer says how the room stands, and keeps no timer", () => {
    const { frame, standing, clock, connect } = setUp();
    frame({ token: "one", token_expires_in_s: 600 });
    connect();
    standing.destroy();
    let state: StatusState | null | undefined;
    watchStatus("r", (now) => {
      state = now;
    })();
    expect(state).toBeNull();
    expect(clock.pending).toBe(0);
  });
});
