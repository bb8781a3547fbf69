import { describe, expect, it } from "vitest";

import { FakeClock } from "../testing";
import { GapTimer } from "./gap-timer";

function openTimer() {
  const clock = new FakeClock();
  const requests: number[] = [];
  const timer = new GapTimer(clock, () => requests.push(clock.now_ms));
  return { clock, requests, timer };
}

describe("GapTimer", () => {
  it("S6: doubles the wait after each request of a gap", () => {
    const { clock, requests, timer } = openTimer();
    timer.note("a");
    for (let second = 0; second < 20; second += 1) {
      clock.pass(1_000);
      timer.note("a");
    }
    expect(requests).toEqual([1_000, 3_000, 7_000, 15_000]);
  });

  it("S6: requests nothing for a gap that closes in time", () => {
    const { clock, requests, timer } = openTimer();
    timer.note("a");
    clock.pass(999);
    timer.note(null);
    clock.pass(60_000);
    expect([requests, clock.pending]).toEqual([[], 0]);
  });

  it("S6: begins again with another gap", () => {
    const { clock, requests, timer } = openTimer();
    timer.note("a");
    clock.pass(15_000);
    timer.note("b");
    clock.pass(3_000);
    expect(requests.slice(4)).toEqual([16_000, 18_000]);
  });

  it("N3: gaps that open without end cause one request a second, and postpone none", () => {
    const { clock, requests, timer } = openTimer();
    for (let number = 0; number < 1_000; number += 1) {
      timer.note(`${number}`);
      clock.pass(10);
    }
    expect(requests.length).toBeGreaterThanOrEqual(5);
    expect(requests.length).toBeLessThanOrEqual(10);
  });
});
