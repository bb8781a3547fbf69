import { describe, expect, it } from "vitest";

import { FakeClock } from "../testing";
import type { SaveStatus } from "./protocol";
import { UnsavedEdits } from "./unsaved-edits";

const EPOCH = "0".repeat(32);

function setUp() {
  const clock = new FakeClock();
  const queries: number[] = [];
  const unsaved = new UnsavedEdits(clock, () => undefined);
  const open = (): void => {
    unsaved.open((version) => queries.push(version));
    clock.pass(0);
  };
  const answer = (version: number, status: SaveStatus = "saved"): void => {
    unsaved.receive({ version, level: 2, status, epoch: EPOCH });
    clock.pass(0);
  };
  const edit = (...keys: string[]): void => {
    unsaved.add(keys);
    clock.pass(0);
  };
  return { clock, queries, unsaved, open, answer, edit };
}

describe("unsaved edits", () => {
  it("S5: an edit is unsaved until the server confirms it", () => {
    const { unsaved, open, answer, edit, queries } = setUp();
    open();
    answer(0);
    edit("a");
    expect(queries).toEqual([0, 1]);
    expect(unsaved.count).toBe(1);
    expect(unsaved.keys).toEqual(["a"]);
    answer(1);
    expect(unsaved.count).toBe(0);
    expect(unsaved.keys).toEqual([]);
  });

  it("query once per connection without edits, to get the epoch", () => {
    const { open, answer, queries, clock, unsaved } = setUp();
    open();
    answer(0);
    clock.pass(60_000);
    expect(queries).toEqual([0]);
    unsaved.close();
    open();
    expect(queries).toEqual([0, 0]);
  });

  it("send no query before the answer to sync step 1", () => {
    const { edit, queries, open } = setUp();
    edit("a");
    edit("b");
    expect(queries).toEqual([]);
    open();
    expect(queries).toEqual([2]);
  });

  it("have one query in flight during fast typing", () => {
    const { open, answer, edit, queries, unsaved } = setUp();
    open();
    answer(0);
    for (let count = 0; count < 50; count++) {
      edit("text");
    }
    expect(queries).toEqual([0, 1]);
    answer(1);
    expect(queries).toEqual([0, 1, 50]);
    expect(unsaved.count).toBe(49);
    answer(50);
    expect(queries).toHaveLength(3);
    expect(unsaved.count).toBe(0);
  });

  it("S5: an answer after the connection closed confirms nothing", () => {
    const { unsaved, open, answer, edit, queries } = setUp();
    open();
    answer(0);
    edit("a");
    unsaved.close();
    answer(1);
    expect(unsaved.count).toBe(1);
    open();
    expect(queries).toEqual([0, 1, 1]);
    answer(1);
    expect(unsaved.count).toBe(0);
  });

  it("S5: an answer to another query confirms nothing", () => {
    const { unsaved, open, answer, edit } = setUp();
    open();
    answer(0);
    edit("a");
    edit("b");
    answer(0);
    answer(2);
    expect(unsaved.count).toBe(2);
    answer(1);
    expect(unsaved.count).toBe(1);
    expect(unsaved.keys).toEqual(["b"]);
  });

  it("S4: a failing store confirms nothing until it has recovered", () => {
    const { unsaved, open, answer, edit, queries } = setUp();
    open();
    answer(0);
    edit("a");
    answer(1, "failing");
    expect(unsaved.isFailing).toBe(true);
    expect(unsaved.count).toBe(1);
    expect(queries).toEqual([0, 1]);
    answer(1);
    expect(unsaved.isFailing).toBe(false);
    expect(unsaved.count).toBe(0);
  });

  it("A1: after a denial no answer on that connection confirms an edit", () => {
    const { unsaved, open, answer, edit } = setUp();
    open();
    answer(0);
    edit("a");
    unsaved.deny();
    answer(1);
    expect(unsaved.count).toBe(1);
    unsaved.close();
    open();
    answer(1);
    expect(unsaved.count).toBe(0);
  });

  it("report the saved version of the session, and 0 for a new session", () => {
    const { unsaved, open, answer, edit, clock } = setUp();
    open();
    answer(0);
    edit("a");
    unsaved.receiveFrom(11, 4);
    clock.pass(0);
    answer(1);
    expect(unsaved.savedSessionVersion).toBe(0);
    expect(unsaved.isAllSaved).toBe(false);
    answer(1);
    expect(unsaved.savedSessionVersion).toBe(4);
    expect(unsaved.isAllSaved).toBe(true);
    unsaved.receiveFrom(12, 1);
    expect(unsaved.savedSessionVersion).toBe(0);
  });

  it("an answer to a former session's query confirms nothing newer", () => {
    const { unsaved, open, answer, clock } = setUp();
    unsaved.receiveFrom(11, 4);
    open();
    unsaved.receiveFrom(12, 9);
    clock.pass(0);
    answer(0);
    expect(unsaved.savedSessionVersion).toBe(0);
    answer(0);
    expect(unsaved.savedSessionVersion).toBe(9);
  });

  it("check() sends one more query, and waits for the answer to that one", () => {
    const { unsaved, open, answer, queries, clock } = setUp();
    open();
    unsaved.check();
    clock.pass(0);
    expect(unsaved.isChecked).toBe(false);
    answer(0);
    expect(unsaved.isChecked).toBe(false);
    answer(0);
    expect(unsaved.isChecked).toBe(true);
    expect(queries).toEqual([0, 0]);
  });

  it("a server without an answer within 10 s is silent until it answers", () => {
    const { unsaved, open, answer, clock } = setUp();
    open();
    clock.pass(9_999);
    expect(unsaved.isSilent).toBe(false);
    clock.pass(1);
    expect(unsaved.isSilent).toBe(true);
    answer(0);
    expect(unsaved.isSilent).toBe(false);
    expect(clock.pending).toBe(0);
  });

  it("list each key once, in the order of the last changes", () => {
    const { unsaved, edit } = setUp();
    edit("a", "b");
    edit("a");
    expect(unsaved.keys).toEqual(["b", "a"]);
    expect(unsaved.count).toBe(2);
  });
});
