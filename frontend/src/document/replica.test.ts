import { describe, expect, it } from "vitest";
import * as Y from "yjs";

import { FrameError } from "../errors";
import { randomFrom } from "../testing";
import { Replica } from "./replica";

const SOCKET = { origin: "socket" };

/** Another replica whose updates the test delivers. */
function peer(id: number) {
  const doc = new Y.Doc();
  doc.clientID = id;
  const updates: Uint8Array[] = [];
  doc.on("update", (update: Uint8Array) => {
    updates.push(update);
  });
  return {
    doc,
    state: doc.getMap("state"),
    /** Return the updates since the last call as one. */
    update: () => Y.mergeUpdates(updates.splice(0)),
  };
}

function state(replica: Replica): Record<string, unknown> {
  return replica.doc.getMap("state").toJSON();
}

function fromSocket(replica: Replica, update: Uint8Array): void {
  Y.applyUpdate(replica.doc, update, SOCKET);
}

describe("Replica", () => {
  it("R2: applying a frame twice changes nothing", () => {
    const session = peer(1);
    session.state.set("a", 1);
    const replica = new Replica();
    const update = session.update();
    replica.applyFromChannel(update);
    const before = Y.encodeStateAsUpdate(replica.doc);
    replica.applyFromChannel(update);
    expect(Y.encodeStateAsUpdate(replica.doc)).toEqual(before);
    expect(replica.version).toBe(0);
  });

  it("R3: a delta contains everything since the acknowledged version", () => {
    const replica = new Replica();
    const other = peer(2);
    const session = new Y.Doc();
    for (const key of ["a", "b", "c"]) {
      other.state.set(key, key);
      fromSocket(replica, other.update());
      if (key === "a") {
        Y.applyUpdate(session, replica.deltaSince(0, null).update);
      }
    }
    replica.acknowledge(1);
    const { since, update } = replica.deltaSince(1, null);
    expect(since).toBe(1);
    Y.applyUpdate(session, update);
    expect(session.getMap("state").toJSON()).toEqual({ a: "a", b: "b", c: "c" });
  });

  it("R3: a deletion is in the delta, although no state vector changes", () => {
    const replica = new Replica();
    const other = peer(2);
    other.state.set("a", 1);
    fromSocket(replica, other.update());
    replica.acknowledge(replica.version);
    const vector = replica.stateVector();
    other.state.delete("a");
    fromSocket(replica, other.update());
    expect(replica.stateVector()).toEqual(vector);
    expect(replica.version).toBe(2);
    expect(replica.deltaSince(1, null).update.length).toBeGreaterThan(0);
  });

  it("R6: an update from the channel is not in the delta for the channel", () => {
    const replica = new Replica();
    const session = peer(1);
    session.state.set("a", 1);
    replica.applyFromChannel(session.update());
    expect(replica.version).toBe(0);
    expect(replica.deltaSince(0, null)).toEqual({ since: 0, update: new Uint8Array(0) });
  });

  it("R6: pending structs that another hop completed are in the delta", () => {
    const replica = new Replica();
    const other = peer(2);
    other.state.set("a", 1);
    const first = other.update();
    other.state.set("a", 2);
    fromSocket(replica, other.update());
    expect(state(replica)).toEqual({});
    let includedPending = false;
    replica.doc.on("update", () => {
      includedPending = replica.includesPending;
    });
    replica.applyFromChannel(first);
    expect(state(replica)).toEqual({ a: 2 });
    expect(includedPending).toBe(true);
    const session = new Y.Doc();
    Y.applyUpdate(session, replica.deltaSince(0, null).update);
    expect(session.getMap("state").toJSON()).toEqual({ a: 2 });
  });

  it("R7: a delta without changes is empty for a large document", () => {
    const replica = new Replica();
    const other = peer(2);
    for (let key = 0; key < 500; key++) {
      other.state.set(`key ${key}`, "x".repeat(50));
    }
    fromSocket(replica, other.update());
    replica.acknowledge(replica.version);
    expect(replica.deltaSince(replica.version, null).update.length).toBe(0);
  });

  it("R7: a delta omits what the peer's state vector contains", () => {
    const replica = new Replica();
    const other = peer(2);
    other.state.set("a", "x".repeat(1000));
    fromSocket(replica, other.update());
    expect(replica.deltaSince(0, Y.encodeStateVector(other.doc))).toEqual({
      since: 0,
      update: new Uint8Array(0),
    });
  });

  it("R3: a new session gets the document with its predecessor's edits", () => {
    const replica = new Replica();
    const session = peer(1);
    session.state.set("a", 1);
    replica.applyFromChannel(session.update());
    replica.startOver();
    const { since, update } = replica.deltaSince(0, null);
    const next = new Y.Doc();
    Y.applyUpdate(next, update);
    expect(since).toBe(0);
    expect(replica.version).toBeGreaterThan(0);
    expect(next.getMap("state").toJSON()).toEqual({ a: 1 });
  });

  it("R3: a session after a long silence gets all, from a bounded log", () => {
    const replica = new Replica();
    const other = peer(2);
    const session = new Y.Doc();
    for (let edit = 0; edit < 1_500; edit++) {
      other.state.set(`key ${edit % 7}`, "x".repeat(1_000) + String(edit));
      fromSocket(replica, other.update());
    }
    const { since, update } = replica.deltaSince(5, null);
    expect(since).toBe(0);
    expect(update.length).toBeLessThan(2 * 1024 * 1024);
    Y.applyUpdate(session, update);
    expect(session.getMap("state").toJSON()).toEqual(other.state.toJSON());
  });

  it("an acknowledgement inside merged log entries keeps the later edits", () => {
    const replica = new Replica();
    const other = peer(2);
    const session = new Y.Doc();
    for (let edit = 0; edit < 200; edit++) {
      other.state.set(`key ${edit}`, edit);
      fromSocket(replica, other.update());
      if (edit === 19) {
        Y.applyUpdate(session, replica.deltaSince(0, null).update);
      }
    }
    replica.acknowledge(20);
    const { since, update } = replica.deltaSince(20, null);
    expect(since).toBeLessThanOrEqual(20);
    Y.applyUpdate(session, update);
    expect(session.getMap("state").toJSON()).toEqual(other.state.toJSON());
  });

  it("an update that does not decode leaves the replica unchanged", () => {
    const replica = new Replica();
    const session = peer(1);
    session.state.set("a", 1);
    replica.applyFromChannel(session.update());
    const before = Y.encodeStateAsUpdate(replica.doc);
    session.state.set("b", 2);
    const good = session.update();
    const seed = 4_711;
    const random = randomFrom(seed);
    for (let round = 0; round < 500; round++) {
      const cut = good.slice(0, random(good.length - 1) + 1);
      expect(() => {
        replica.applyFromChannel(cut);
      }, `seed ${seed}, round ${round}`).toThrow(FrameError);
    }
    expect(Y.encodeStateAsUpdate(replica.doc)).toEqual(before);
  });

  it("has a unique random id of up to 53 bits", () => {
    const ids = Array.from({ length: 200 }, () => new Replica().id);
    expect(new Set(ids).size).toBe(200);
    expect(ids.every((id) => Number.isSafeInteger(id) && id >= 0)).toBe(true);
    expect(Math.max(...ids)).toBeGreaterThan(2 ** 45);
  });
});

describe("an update from the socket", () => {
  function setUp() {
    const replica = new Replica();
    const session = peer(1);
    const other = peer(2);
    const wakes: boolean[] = [];
    replica.own = new Set([1]);
    replica.onChange = (isWake) => wakes.push(isWake);
    const deliver = (from: ReturnType<typeof peer>): void => {
      const update = from.update();
      fromSocket(replica, update);
      Y.applyUpdate(session.doc, update);
      Y.applyUpdate(other.doc, update);
      session.update();
      other.update();
    };
    return { session, other, wakes, deliver };
  }

  it("P4: does not wake the session that made the edit", () => {
    const { session, wakes, deliver } = setUp();
    session.state.set("a", 1);
    deliver(session);
    session.state.set("a", 2);
    deliver(session);
    expect(wakes).toEqual([false, false]);
  });

  it("P4: does not wake the session for its overwrite of another's value", () => {
    const { session, other, wakes, deliver } = setUp();
    other.state.set("a", 1);
    deliver(other);
    session.state.set("a", 2);
    deliver(session);
    expect(wakes).toEqual([true, false]);
  });

  it("wakes the session for another's edit, alone or merged with its own", () => {
    const { session, other, wakes, deliver } = setUp();
    other.state.set("a", 1);
    session.state.set("b", 1);
    Y.applyUpdate(session.doc, other.update());
    deliver(session);
    expect(wakes).toEqual([true]);
  });

  it("wakes the session for a deletion, alone or merged with its own edit", () => {
    const { session, other, wakes, deliver } = setUp();
    other.state.set("a", 1);
    deliver(other);
    other.state.delete("a");
    session.state.set("b", 1);
    Y.applyUpdate(session.doc, other.update());
    deliver(session);
    session.state.delete("b");
    deliver(session);
    expect(wakes).toEqual([true, true, true]);
  });
});
