import { describe, expect, it } from "vitest";

import { FakeClock } from "../testing";
import type { SavedOutcome } from "./protocol";
import { UnsavedEdits } from "./unsaved-edits";

const EPOCH = "0".repeat(32);

function setUp() {
  const clock = new FakeClock();
  const asked: number[] = [];
  const saved = new UnsavedEdits(clock, () => undefined);
  const open = (): void => {
    saved.open((version) => asked.push(version));
    clock.pass(0);
  };
  const answer = (version: number, outcome: SavedOutcome = "saved"): void => {
    saved.answer({ version, level: 2, outcome, epoch: EPOCH });
    clock.pass(0);
  };
  const edit = (...keys: string[]): void => {
    saved.note(keys);
    clock.pass(0);
  };
  return { clock, asked, saved, open, answer, edit };
}

describe("what is saved", () => {
  it("S5: an edit is unsaved until the server says so, also while it is on its way", () => {
    const { saved, open, answer, edit, asked } = setUp();
    open();
    answer(0);
    edit("a");
    expect(asked).toEqual([0, 1]);
    expect(saved.unsaved).toBe(1);
    expect(saved.unsavedKeys).toEqual(["a"]);
    answer(1);
    expect(saved.unsaved).toBe(0);
    expect(saved.unsavedKeys).toEqual([]);
  });

  it("asks once per connection even if there is nothing to save, to learn the epoch", () => {
    const { open, answer, asked, clock, saved } = setUp();
    open();
    answer(0);
    clock.pass(60_000);
    expect(asked).toEqual([0]);
    saved.close();
    open();
    expect(asked).toEqual([0, 0]);
  });

  it("asks nothing before the server has been sent what it lacked", () => {
    const { edit, asked, open } = setUp();
    edit("a");
    edit("b");
    expect(asked).toEqual([]);
    open();
    expect(asked).toEqual([2]);
  });

  it("has one question under way, however fast somebody types", () => {
    const { open, answer, edit, asked, saved } = setUp();
    open();
    answer(0);
    for (let count = 0; count < 50; count++) {
      edit("text");
    }
    expect(asked).toEqual([0, 1]);
    answer(1);
    expect(asked).toEqual([0, 1, 50]);
    expect(saved.unsaved).toBe(49);
    answer(50);
    expect(asked).toHaveLength(3);
    expect(saved.unsaved).toBe(0);
  });

  it("S5: a connection that closes takes its answer along", () => {
    const { saved, open, answer, edit, asked } = setUp();
    open();
    answer(0);
    edit("a");
    saved.close();
    answer(1);
    expect(saved.unsaved).toBe(1);
    open();
    expect(asked).toEqual([0, 1, 1]);
    answer(1);
    expect(saved.unsaved).toBe(0);
  });

  it("S5: an answer to another question confirms nothing", () => {
    const { saved, open, answer, edit } = setUp();
    open();
    answer(0);
    edit("a");
    edit("b");
    answer(0);
    answer(2);
    expect(saved.unsaved).toBe(2);
    answer(1);
    expect(saved.unsaved).toBe(1);
    expect(saved.unsavedKeys).toEqual(["b"]);
  });

  it("S4: a store that fails confirms nothing, and the question stands until it is mended", () => {
    const { saved, open, answer, edit, asked } = setUp();
    open();
    answer(0);
    edit("a");
    answer(1, "failing");
    expect(saved.failing).toBe(true);
    expect(saved.unsaved).toBe(1);
    expect(asked).toEqual([0, 1]);
    answer(1);
    expect(saved.failing).toBe(false);
    expect(saved.unsaved).toBe(0);
  });

  it("A1: what a server denied is not saved, whatever it answers on that connection", () => {
    const { saved, open, answer, edit } = setUp();
    open();
    answer(0);
    edit("a");
    saved.deny();
    answer(1);
    expect(saved.unsaved).toBe(1);
    saved.close();
    open();
    answer(1);
    expect(saved.unsaved).toBe(0);
  });

  it("tells up to which version its session is saved, and begins anew with another session", () => {
    const { saved, open, answer, edit, clock } = setUp();
    open();
    answer(0);
    edit("a");
    saved.noteSession(11, 4);
    clock.pass(0);
    answer(1);
    expect(saved.sessionVersion).toBe(0);
    expect(saved.isSettled).toBe(false);
    answer(1);
    expect(saved.sessionVersion).toBe(4);
    expect(saved.isSettled).toBe(true);
    saved.noteSession(12, 1);
    expect(saved.sessionVersion).toBe(0);
  });

  it("an answer to a question of the former session's time says nothing of the present one", () => {
    const { saved, open, answer, clock } = setUp();
    saved.noteSession(11, 4);
    open();
    saved.noteSession(12, 9);
    clock.pass(0);
    answer(0);
    expect(saved.sessionVersion).toBe(0);
    answer(0);
    expect(saved.sessionVersion).toBe(9);
  });

  it("can be asked for once more, and an answer to an earlier question is none to that", () => {
    const { saved, open, answer, asked, clock } = setUp();
    open();
    saved.check();
    clock.pass(0);
    expect(saved.isChecked).toBe(false);
    answer(0);
    expect(saved.isChecked).toBe(false);
    answer(0);
    expect(saved.isChecked).toBe(true);
    expect(asked).toEqual([0, 0]);
  });

  it("a server that does not answer within 10 s is one that does not tell, until it does", () => {
    const { saved, open, answer, clock } = setUp();
    open();
    clock.pass(9_999);
    expect(saved.isSilent).toBe(false);
    clock.pass(1);
    expect(saved.isSilent).toBe(true);
    answer(0);
    expect(saved.isSilent).toBe(false);
    expect(clock.pending).toBe(0);
  });

  it("names the keys in the order in which they were last changed, each once", () => {
    const { saved, edit } = setUp();
    edit("a", "b");
    edit("a");
    expect(saved.unsavedKeys).toEqual(["b", "a"]);
    expect(saved.unsaved).toBe(2);
  });
});
