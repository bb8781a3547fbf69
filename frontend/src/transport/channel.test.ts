import { fromBase64, toBase64 } from "lib0/buffer";
import * as decoding from "lib0/decoding";
import { describe, expect, it } from "vitest";
import * as Y from "yjs";

import { Replica } from "../document/replica";
import type { FrameError } from "../errors";
import { FakeClock, sessionHeader } from "../testing";
import { Channel } from "./channel";
import { encodeFrameBytes } from "./frame";
import type { SessionHeader, TabHeader } from "./frame";

const BUILD = "1.0+abc";
const SOCKET = { origin: "socket" };

interface TabFrame {
  readonly header: TabHeader;
  readonly update: Uint8Array;
  readonly at_ms: number;
}

/** The session's end of the channel, as on the Python side. */
class FakeSession {
  readonly doc = new Y.Doc();
  private readonly applied = new Map<number, number>();
  private tabId: number | null = null;

  constructor(id = 11) {
    this.doc.clientID = id;
  }

  read({ header, update }: TabFrame): void {
    if (update.length > 0) {
      Y.applyUpdate(this.doc, update);
    }
    this.tabId = header.id;
    const applied = this.applied.get(header.id) ?? 0;
    if (header.since <= applied) {
      this.applied.set(header.id, Math.max(applied, header.v));
    }
  }

  frame(fields: Record<string, unknown> = {}, update: Uint8Array = new Uint8Array(0)): Uint8Array {
    const ack = this.tabId === null ? 0 : (this.applied.get(this.tabId) ?? 0);
    const id = this.doc.clientID;
    const header = sessionHeader({ id, own: [id], ack_of: this.tabId, ack, build: BUILD, ...fields });
    return encodeFrameBytes(header, update);
  }

  get state(): Record<string, unknown> {
    return this.doc.getMap("state").toJSON();
  }
}

function setUp() {
  const clock = new FakeClock();
  const replica = new Replica();
  const session = new FakeSession();
  const sent: TabFrame[] = [];
  const frameErrors: FrameError[] = [];
  const headers: SessionHeader[] = [];
  let isAccepted = true;
  let isRewritten = false;
  let oldBuilds = 0;
  let silences = 0;
  const channel = new Channel({
    replica,
    clock,
    build: BUILD,
    send: (frame) => sent.push(readTabFrame(frame, clock.now_ms)),
    status: {
      accepts: () => isAccepted && !isRewritten,
      get isRewritten() {
        return isRewritten;
      },
      report: () => ({ saved_v: 0, unsaved: 0, failing: false, epoch: null, level: 0 }),
    },
    listener: {
      onFrame: (header) => headers.push(header),
      onOldBuild: () => {
        oldBuilds += 1;
      },
      onSilence: () => {
        silences += 1;
      },
      onFrameError: (error) => frameErrors.push(error),
    },
  });
  const other = new Y.Doc();
  other.clientID = 22;
  const tab = {
    clock,
    replica,
    session,
    channel,
    sent,
    frameErrors,
    headers,
    rejectFrames: () => {
      isAccepted = false;
    },
    rewrite: () => {
      isRewritten = true;
      channel.report("rewritten");
      clock.pass(0);
    },
    oldBuilds: () => oldBuilds,
    silences: () => silences,
    last: () => sent.at(-1) ?? expect.fail("no frame was sent"),
    /** Apply another session's edit from the socket. */
    remoteEdit(key: string, value: unknown): void {
      other.getMap("state").set(key, value);
      Y.applyUpdate(replica.doc, Y.encodeStateAsUpdate(other), SOCKET);
      clock.pass(0);
    },
    /** Let the session apply the last frame and acknowledge it, as in one rerun of the fragment. */
    answer(fields: Record<string, unknown> = {}): void {
      session.read(tab.last());
      channel.receive(session.frame(fields));
      clock.pass(0);
    },
    /** Mount, connect the socket, and acknowledge all frames. */
    settle(): void {
      channel.receive(session.frame());
      channel.open();
      clock.pass(0);
      tab.answer();
      channel.setStatus("connected", true);
      clock.pass(1_000);
      tab.answer();
      sent.length = 0;
    },
  };
  return tab;
}

function readTabFrame(frame: string, at_ms: number): TabFrame {
  const decoder = decoding.createDecoder(fromBase64(frame));
  decoding.readUint8(decoder);
  const header = JSON.parse(new TextDecoder().decode(decoding.readVarUint8Array(decoder))) as TabHeader;
  return { header, update: decoding.readTailAsUint8Array(decoder), at_ms };
}

describe("after the rewrite of the room", () => {
  it("N4: the report waits for the frame in flight", () => {
    const { answer, remoteEdit, rewrite, sent, settle } = setUp();
    settle();
    remoteEdit("a", 1);
    rewrite();
    expect(sent.map(({ header }) => header.error)).toEqual([null]);
    answer();
    expect(sent.map(({ header }) => header.error)).toEqual([null, "rewritten"]);
  });

  it("N4: a new session gets the report, and nothing of the former document", () => {
    const { answer, channel, clock, remoteEdit, rewrite, sent, settle } = setUp();
    settle();
    rewrite();
    answer();
    remoteEdit("a", 1);
    sent.length = 0;
    const restarted = new FakeSession(12);
    for (let count = 0; count < 2; count += 1) {
      channel.receive(restarted.frame());
      clock.pass(0);
    }
    const [first] = sent;
    expect(first?.header).toMatchObject({ error: "rewritten", synced: false, since: 0, ack_of: 12, ack: 0 });
    expect(first?.update).toHaveLength(0);
    clock.pass(10_000);
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.every(({ header, update }) => header.error === "rewritten" && update.length === 0)).toBe(
      true,
    );
  });
});

describe("a hello", () => {
  it("is sent after the mount, with a state vector and an acknowledgement", () => {
    const { channel, session, clock, sent, replica } = setUp();
    session.doc.getMap("state").set("a", 1);
    channel.receive(session.frame({ v: 4 }, Y.encodeStateAsUpdate(session.doc)));
    channel.open();
    expect(sent).toHaveLength(0);
    clock.pass(0);
    expect(sent).toHaveLength(1);
    expect(sent[0]?.header).toMatchObject({ why: "hello", since: 0, ack_of: 11, ack: 4, n: 1, build: BUILD });
    expect(sent[0]?.header.sv).toBeTypeOf("string");
    expect(replica.doc.getMap("state").get("a")).toBe(1);
  });

  it("is resent as a hello after 1 s until it is acknowledged", () => {
    const { channel, session, clock, sent, answer } = setUp();
    channel.open();
    clock.pass(999);
    channel.receive(session.frame());
    expect(sent).toHaveLength(1);
    clock.pass(1);
    expect(sent.map(({ header }) => header.why)).toEqual(["hello", "hello"]);
    answer();
    clock.pass(60_000);
    expect(sent).toHaveLength(2);
    expect(clock.pending).toBe(0);
  });

  it("is the last frame with a state vector", () => {
    const { settle, remoteEdit, last } = setUp();
    settle();
    remoteEdit("a", 1);
    expect(last().header).not.toHaveProperty("sv");
  });
});

describe("an update", () => {
  it("R2: a duplicate frame changes nothing and triggers no frame", () => {
    const { settle, session, channel, sent, replica, clock } = setUp();
    settle();
    session.doc.getMap("state").set("a", 1);
    const frame = session.frame({ v: 1 }, Y.encodeStateAsUpdate(session.doc));
    channel.receive(frame);
    const before = Y.encodeStateAsUpdate(replica.doc);
    channel.receive(frame);
    clock.pass(60_000);
    expect(Y.encodeStateAsUpdate(replica.doc)).toEqual(before);
    expect(sent).toHaveLength(0);
  });

  it("R3: edits that arrive while a frame is in flight share the next one", () => {
    const { settle, remoteEdit, sent, answer, session, last } = setUp();
    settle();
    remoteEdit("a", 1);
    remoteEdit("b", 2);
    remoteEdit("c", 3);
    expect(sent).toHaveLength(1);
    answer();
    expect(sent).toHaveLength(2);
    session.read(last());
    expect(session.state).toEqual({ a: 1, b: 2, c: 3 });
  });

  it("S6: a session with missing updates gets everything a second later", () => {
    const { settle, remoteEdit, answer, sent, clock, session, channel, last } = setUp();
    settle();
    remoteEdit("a", 1);
    answer();
    sent.length = 0;
    channel.receive(session.frame({ ack: 0, sv: toBase64(Y.encodeStateVector(new Y.Doc())), wake_s: 1 }));
    clock.pass(900);
    expect(sent).toHaveLength(0);
    clock.pass(200);
    expect(last().header).toMatchObject({ why: "settle", since: 0 });
    const copy = new Y.Doc();
    Y.applyUpdate(copy, last().update);
    expect(copy.getMap("state").toJSON()).toEqual({ a: 1 });
  });

  it("R3: a lost frame is resent after 3 s, doubling up to 30 s", () => {
    const { settle, remoteEdit, sent, clock, session, last } = setUp();
    settle();
    remoteEdit("a", 1);
    clock.pass(2_999);
    remoteEdit("b", 2);
    expect(sent).toHaveLength(1);
    clock.pass(1);
    expect(last().header.why).toBe("resend");
    clock.pass(100_000);
    const times = sent.map(({ at_ms }) => at_ms);
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    expect(waits).toEqual([3_000, 6_000, 12_000, 24_000, 30_000]);
    session.read(last());
    expect(session.state).toEqual({ a: 1, b: 2 });
  });

  it("P5: a frame that a click dropped is resent after 300 ms", () => {
    const { settle, remoteEdit, sent, session, channel, clock, replica } = setUp();
    settle();
    remoteEdit("a", 1);
    expect(sent).toHaveLength(1);
    channel.receive(session.frame({ ack_of: replica.id, ack: sent[0]?.header.since ?? 0 }));
    clock.pass(299);
    expect(sent).toHaveLength(1);
    clock.pass(1);
    expect(sent.map(({ header }) => header.why)).toEqual(["update", "resend"]);
  });

  it("a silent session is reported at the retry, not while it sends frames", () => {
    const { settle, remoteEdit, session, channel, clock, silences, replica } = setUp();
    settle();
    remoteEdit("a", 1);
    clock.pass(2_999);
    expect(silences()).toBe(0);
    channel.receive(session.frame({ ack_of: replica.id, ack: 0 }));
    clock.pass(1_000);
    const before = silences();
    clock.pass(60_000);
    expect(silences()).toBeGreaterThan(before);
  });

  it("R3: a session that reports a gap gets the missing edits at once", () => {
    const { settle, remoteEdit, answer, channel, session, sent, last, replica } = setUp();
    settle();
    remoteEdit("a", 1);
    answer();
    remoteEdit("b", 2);
    const count = sent.length;
    channel.receive(session.frame({ ack_of: replica.id, ack: 0 }));
    expect(sent).toHaveLength(count + 1);
    expect(last().header.since).toBe(0);
    const fresh = new FakeSession();
    fresh.read(last());
    expect(fresh.state).toEqual({ a: 1, b: 2 });
  });

  it("R3: a new session gets a hello and the whole document", () => {
    const { settle, remoteEdit, answer, channel, session, last, sent, clock } = setUp();
    settle();
    session.doc.getMap("state").set("mine", 0);
    channel.receive(session.frame({ v: 1 }, Y.encodeStateAsUpdate(session.doc)));
    remoteEdit("a", 1);
    answer();
    const next = new FakeSession(12);
    channel.receive(next.frame());
    clock.pass(0);
    expect(last().header).toMatchObject({ why: "hello", since: 0, ack_of: 12, ack: 0 });
    next.read(last());
    expect(next.state).toEqual({ mine: 0, a: 1 });
    channel.receive(next.frame());
    const count = sent.length;
    clock.pass(60_000);
    expect(sent).toHaveLength(count);
  });

  it("R6: the session's update is not sent back to it", () => {
    const { settle, session, channel, clock, sent, replica } = setUp();
    settle();
    session.doc.getMap("state").set("a", 1);
    channel.receive(session.frame({ v: 1 }, Y.encodeStateAsUpdate(session.doc)));
    clock.pass(60_000);
    expect(sent).toHaveLength(0);
    expect(replica.deltaSince(replica.version, null).update).toHaveLength(0);
  });

  it("R7: an idle room sends no frame and schedules no timer", () => {
    const { settle, sent, clock } = setUp();
    settle();
    clock.pass(3_600_000);
    expect(sent).toHaveLength(0);
    expect(clock.pending).toBe(0);
  });

  it("R7: a frame without changes contains no update", () => {
    const { settle, remoteEdit, answer, channel, clock, last } = setUp();
    settle();
    remoteEdit("a", "x".repeat(10_000));
    answer();
    channel.setStatus("offline", true);
    clock.pass(150);
    expect(last().update).toHaveLength(0);
    expect(last().header.v).toBe(last().header.since + 1);
  });

  it("R7: a large update is acknowledged once", () => {
    const { settle, session, channel, clock, sent, last, answer } = setUp();
    settle();
    session.doc.getMap("state").set("a", "x".repeat(10_000));
    const update = Y.encodeStateAsUpdate(session.doc);
    channel.receive(session.frame({ v: 1 }, update));
    clock.pass(0);
    expect(last().header).toMatchObject({ why: "settle", ack: 1 });
    answer();
    channel.receive(session.frame({ v: 1 }, update));
    clock.pass(60_000);
    expect(sent).toHaveLength(1);
  });

  it("R3: a frame after a gap is applied but not acknowledged", () => {
    const { settle, session, channel, clock, last } = setUp();
    settle();
    channel.receive(session.frame({ v: 9, since: 8, settle: true }));
    clock.pass(0);
    expect(last().header.ack).toBe(0);
  });

  it("P4: the session's edit from the socket only joins the next frame", () => {
    const { settle, session, replica, clock, sent, remoteEdit, last } = setUp();
    settle();
    session.doc.getMap("state").set("mine", 1);
    Y.applyUpdate(replica.doc, Y.encodeStateAsUpdate(session.doc), SOCKET);
    clock.pass(60_000);
    expect(sent).toHaveLength(0);
    remoteEdit("a", 1);
    const reader = new FakeSession(13);
    reader.read(last());
    expect(reader.state).toEqual({ mine: 1, a: 1 });
  });
});

describe("the status", () => {
  it("is sent once for changes within 150 ms, and not if they cancel out", () => {
    const { settle, channel, clock, sent, answer } = setUp();
    settle();
    channel.setStatus("offline", true);
    clock.pass(100);
    channel.setStatus("connected", true);
    clock.pass(1_000);
    expect(sent).toHaveLength(0);
    channel.setStatus("offline", true);
    clock.pass(150);
    expect(sent.map(({ header }) => header.status)).toEqual(["offline"]);
    answer();
    clock.pass(60_000);
    expect(sent).toHaveLength(1);
  });

  it("is part of an update that is sent anyway", () => {
    const { settle, channel, clock, sent, remoteEdit, answer } = setUp();
    settle();
    channel.setStatus("offline", true);
    remoteEdit("a", 1);
    expect(sent.map(({ header }) => [header.why, header.status])).toEqual([["update", "offline"]]);
    answer();
    clock.pass(1_000);
    expect(sent).toHaveLength(1);
  });

  it("is not sent while the page is paused, and sent when it resumes", () => {
    const { settle, channel, clock, sent, remoteEdit } = setUp();
    settle();
    channel.pause();
    channel.setStatus("offline", true);
    remoteEdit("a", 1);
    clock.pass(60_000);
    expect(sent).toHaveLength(0);
    channel.resume();
    clock.pass(0);
    expect(sent.map(({ header }) => [header.why, header.status])).toEqual([["update", "offline"]]);
  });

  it("sends each error code once", () => {
    const { settle, channel, clock, sent, answer } = setUp();
    settle();
    channel.report("mixed-content");
    channel.report("refused");
    clock.pass(0);
    answer();
    answer();
    channel.report("refused");
    clock.pass(60_000);
    expect(sent.map(({ header }) => header.error)).toEqual(["mixed-content", "refused"]);
  });
});

describe("a session's frame", () => {
  it("with settle gets one frame, after the frame in flight", () => {
    const { settle, channel, session, clock, sent, remoteEdit, answer } = setUp();
    settle();
    remoteEdit("a", 1);
    channel.receive(session.frame({ settle: true }));
    clock.pass(0);
    expect(sent).toHaveLength(1);
    answer();
    expect(sent.map(({ header }) => header.why)).toEqual(["update", "settle"]);
    answer();
    clock.pass(60_000);
    expect(sent).toHaveLength(2);
  });

  it("P1: with confirm is confirmed by number after 400 ms of quiet", () => {
    const { settle, channel, session, clock, sent, answer } = setUp();
    settle();
    channel.receive(session.frame({ confirm: 1 }));
    clock.pass(399);
    channel.receive(session.frame({ confirm: 2 }));
    clock.pass(399);
    expect(sent).toHaveLength(0);
    clock.pass(1);
    expect(sent.map(({ header }) => [header.why, header.confirmed])).toEqual([["confirm", 2]]);
    answer({ confirm: 2 });
    clock.pass(60_000);
    expect(sent).toHaveLength(1);
  });

  it("P1: without confirm ends the wait of an earlier one", () => {
    const { settle, channel, session, clock, sent } = setUp();
    settle();
    channel.receive(session.frame({ confirm: 1 }));
    clock.pass(100);
    channel.receive(session.frame());
    clock.pass(60_000);
    expect(sent).toHaveLength(0);
  });

  it("with poll_s is polled while offline, ten times slower while hidden", () => {
    const { settle, channel, session, clock, sent, answer } = setUp();
    settle();
    channel.setStatus("offline", true);
    clock.pass(150);
    answer({ poll_s: 2 });
    sent.length = 0;
    for (let second = 0; second < 10; second++) {
      clock.pass(1_000);
      if (sent.length > 0) {
        answer({ poll_s: 2 });
      }
    }
    expect(sent.map(({ header }) => header.why)).toEqual(Array(5).fill("poll"));
    channel.setVisible(false);
    sent.length = 0;
    clock.pass(19_999);
    expect(sent).toHaveLength(0);
    channel.setVisible(true);
    clock.pass(0);
    expect(sent).toHaveLength(1);
    channel.setStatus("connected", true);
    answer({ poll_s: 2 });
    clock.pass(150);
    sent.length = 0;
    channel.receive(session.frame({ poll_s: 2 }));
    clock.pass(2_999);
    expect(sent.filter(({ header }) => header.why === "poll")).toHaveLength(0);
  });

  it("of another build is applied, and reported once as old-build", () => {
    const { settle, channel, session, clock, sent, oldBuilds, remoteEdit, answer } = setUp();
    settle();
    channel.receive(session.frame({ build: "2.0+def" }));
    clock.pass(0);
    expect(oldBuilds()).toBe(1);
    answer({ build: "2.0+def" });
    remoteEdit("a", 1);
    expect(sent.map(({ header }) => header.error)).toEqual(["old-build", null]);
  });

  it("that does not decode is rejected, and reported as old-build", () => {
    const { settle, channel, clock, sent, frameErrors, oldBuilds, replica } = setUp();
    settle();
    const before = replica.stateVector();
    for (const bytes of [[], [9, 9, 9], [1, 255]]) {
      channel.receive(new Uint8Array(bytes));
    }
    clock.pass(0);
    expect(frameErrors).toHaveLength(3);
    expect(oldBuilds()).toBe(3);
    expect(sent.map(({ header }) => header.error)).toEqual(["old-build"]);
    expect(replica.stateVector()).toEqual(before);
  });

  it("with an invalid update is rejected and not acknowledged", () => {
    const { settle, channel, session, clock, frameErrors, remoteEdit, last } = setUp();
    settle();
    channel.receive(session.frame({ v: 5 }, new Uint8Array([255, 255, 1])));
    clock.pass(0);
    expect(frameErrors.map((error) => error.field)).toEqual(["update"]);
    remoteEdit("a", 1);
    expect(last().header.ack).toBe(0);
  });

  it("that the status rejects is neither applied nor acknowledged", () => {
    const { settle, channel, session, clock, replica, sent, headers, rejectFrames } = setUp();
    settle();
    const before = replica.stateVector();
    const count = headers.length;
    rejectFrames();
    session.doc.getMap("state").set("a", 1);
    channel.receive(session.frame({ v: 5, settle: true }, Y.encodeStateAsUpdate(session.doc)));
    clock.pass(60_000);
    expect(replica.stateVector()).toEqual(before);
    expect(headers).toHaveLength(count);
    expect(sent).toHaveLength(0);
  });

  it("A2: a token request comes first, and is repeated by a retry", () => {
    const { settle, channel, remoteEdit, clock, sent } = setUp();
    settle();
    channel.request("token");
    remoteEdit("a", 1);
    clock.pass(3_000);
    expect(sent.map(({ header }) => header.why)).toEqual(["token", "token"]);
  });
});

describe("a large update", () => {
  const bytes = (byteCount: number): Uint8Array => new Uint8Array(byteCount).fill(7);

  function part(frame: TabFrame): { part: readonly [number, number]; got: [number, number] } {
    const range = frame.header.part ?? expect.fail("the frame has no part");
    return { part: range, got: [frame.header.v, range[0] + frame.update.length] };
  }

  it("R3: leaves in parts, each after the session has the one before", () => {
    const { settle, channel, session, clock, sent, remoteEdit, last } = setUp();
    settle();
    channel.receive(session.frame({ part_bytes: 1000 }));
    remoteEdit("a", bytes(2500));
    const collected: Uint8Array[] = [];
    for (const start of [0, 1000, 2000]) {
      expect(part(last()).part[0]).toBe(start);
      collected.push(last().update);
      if (start < 2000) {
        const { got } = part(last());
        channel.receive(session.frame({ part_bytes: 1000, got }));
        clock.pass(0);
      }
    }
    Y.applyUpdate(
      session.doc,
      collected.reduce((all, one) => new Uint8Array([...all, ...one]), new Uint8Array()),
    );
    expect(session.state).toEqual({ a: bytes(2500) });
    const { v } = last().header;
    channel.receive(session.frame({ part_bytes: 1000, ack: v }));
    clock.pass(60_000);
    expect(sent).toHaveLength(3);
    remoteEdit("b", 1);
    expect(last().update.length).toBeLessThan(500);
    expect(last().header.part).toBeUndefined();
  });

  it("R3: a part that was lost is sent again, and a session without parts gets all of them", () => {
    const { settle, channel, session, clock, sent, remoteEdit, last } = setUp();
    settle();
    channel.receive(session.frame({ part_bytes: 1000 }));
    remoteEdit("a", bytes(2500));
    clock.pass(3_000);
    expect(sent.map((frame) => part(frame).part[0])).toEqual([0, 0]);
    channel.receive(session.frame({ part_bytes: 1000, got: part(last()).got }));
    clock.pass(0);
    channel.receive(session.frame({ part_bytes: 1000 }));
    clock.pass(300);
    expect(sent.map((frame) => part(frame).part[0])).toEqual([0, 0, 1000, 0]);
  });

  it("R3: an edit during a transfer follows it", () => {
    const { settle, channel, session, clock, remoteEdit, last } = setUp();
    settle();
    channel.receive(session.frame({ part_bytes: 1000 }));
    remoteEdit("a", bytes(1500));
    const first = last();
    remoteEdit("b", 1);
    channel.receive(session.frame({ part_bytes: 1000, got: part(first).got }));
    clock.pass(0);
    expect(last().header.v).toBe(first.header.v);
    Y.applyUpdate(session.doc, new Uint8Array([...first.update, ...last().update]));
    channel.receive(session.frame({ part_bytes: 1000, ack: first.header.v }));
    clock.pass(0);
    session.read(last());
    expect(last().header.v).toBeGreaterThan(first.header.v);
    expect(session.state).toMatchObject({ b: 1 });
  });

  it("of a session is applied when it is complete, and each part is acknowledged", () => {
    const { settle, channel, session, clock, replica, last } = setUp();
    settle();
    session.doc.getMap("state").set("a", bytes(2500));
    const update = Y.encodeStateAsUpdate(session.doc);
    for (const start of [0, 0, 1000, 2000]) {
      expect(replica.doc.getMap("state").size).toBe(0);
      const fields = { v: 5, since: 0, part: [start, update.length] };
      channel.receive(session.frame(fields, update.subarray(start, start + 1000)));
      clock.pass(0);
      if (start < 2000) {
        expect(last().header.got?.[0]).toBe(5);
        expect(last().header.ack).toBe(0);
        session.read(last());
      }
    }
    expect(replica.doc.getMap("state").size).toBe(1);
    channel.receive(session.frame({ v: 5, since: 0, part: [2000, update.length] }, update.subarray(2000)));
    clock.pass(0);
    expect([last().header.ack, last().header.got]).toEqual([5, undefined]);
  });

  it("that came from the room is left out if the session is in the room", () => {
    const { settle, channel, session, clock, remoteEdit, replica, last } = setUp();
    settle();
    channel.setStatus("connected", true);
    channel.receive(session.frame({ in_room: true }));
    remoteEdit("a", bytes(2500));
    expect([last().header.in_room, last().update.length]).toEqual([true, 0]);
    session.read(last());
    channel.receive(session.frame({ in_room: true }));
    clock.pass(0);
    replica.doc.getMap("state").set("own", 1);
    clock.pass(0);
    expect(last().header.in_room).toBeUndefined();
    expect(last().update.length).toBeGreaterThan(0);
    channel.setStatus("offline", true);
    channel.receive(session.frame({ in_room: false, ack: 0 }));
    clock.pass(300);
    session.read(last());
    expect(session.state).toEqual({ a: bytes(2500), own: 1 });
  });

  it("P4: changes wait until a connection has brought the whole room", () => {
    const { settle, channel, sent, remoteEdit, last } = setUp();
    settle();
    channel.setSyncing(true);
    remoteEdit("a", 1);
    remoteEdit("b", 2);
    expect(sent).toHaveLength(0);
    channel.setSyncing(false);
    remoteEdit("c", 3);
    expect(sent).toHaveLength(1);
    expect(last().header.why).toBe("update");
  });
});
