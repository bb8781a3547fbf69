import { describe, expect, it } from "vitest";

import { FakeClock } from "../testing";
import { TabToken } from "./tab-token";

function setUp() {
  const clock = new FakeClock();
  const requestedAt_ms: number[] = [];
  const tokens: (string | null)[] = [];
  const token = new TabToken(
    clock,
    () => requestedAt_ms.push(clock.now_ms),
    () => tokens.push(token.text),
  );
  return { clock, requestedAt_ms, tokens, token };
}

describe("A2: a token", () => {
  it("is requested once after 80 % of its lifetime", () => {
    const { clock, requestedAt_ms, token } = setUp();
    token.update("one", 600);
    clock.pass(3_600_000);
    expect(requestedAt_ms).toEqual([480_000]);
    expect(clock.pending).toBe(0);
  });

  it("is renewed again after 80 % of the next lifetime", () => {
    const { clock, requestedAt_ms, tokens, token } = setUp();
    token.update("one", 600);
    clock.pass(481_000);
    token.update("two", 600);
    clock.pass(481_000);
    expect(requestedAt_ms).toEqual([480_000, 961_000]);
    expect(tokens).toEqual(["one", "two"]);
  });

  it("is unchanged by a frame with the same token, and by one without", () => {
    const { clock, requestedAt_ms, tokens, token } = setUp();
    token.update("one", 600);
    clock.pass(400_000);
    token.update("one", 200);
    token.update(null, null);
    clock.pass(80_000);
    expect(requestedAt_ms).toEqual([480_000]);
    expect(tokens).toEqual(["one"]);
    expect(token.text).toBe("one");
  });

  it("is requested once during rejections of an unreachable server", () => {
    const { clock, requestedAt_ms, token } = setUp();
    token.update("one", 600);
    for (let attempt = 0; attempt < 100; attempt++) {
      clock.pass(2_500);
      token.onRejected();
    }
    expect(requestedAt_ms).toEqual([2_500]);
  });

  it("is requested at a rejection after it expired while the machine slept", () => {
    const { clock, requestedAt_ms, token } = setUp();
    token.update("one", 600);
    token.onRejected();
    clock.now_ms += 3_600_000;
    token.onRejected();
    token.onRejected();
    expect(requestedAt_ms).toEqual([0, 3_600_000]);
  });

  it("is requested once when the new token is rejected too", () => {
    const { clock, requestedAt_ms, token } = setUp();
    token.update("one", 600);
    for (let attempt = 0; attempt < 100; attempt++) {
      clock.pass(2_500);
      token.onRejected();
      token.update(`after rejection ${requestedAt_ms.length}`, 600);
    }
    expect(requestedAt_ms).toEqual([2_500]);
  });

  it("is requested at the first rejection after a connection was open", () => {
    const { clock, requestedAt_ms, token } = setUp();
    token.update("one", 600);
    token.onRejected();
    token.update("two", 600);
    token.onAdmitted();
    clock.pass(1_000);
    token.onRejected();
    expect(requestedAt_ms).toEqual([0, 1_000]);
  });

  it("is not requested when the session sent none", () => {
    const { requestedAt_ms, token } = setUp();
    token.onRejected();
    expect(requestedAt_ms).toEqual([]);
  });

  it("with a lifetime of months, or without end, is not requested early", () => {
    const { clock, requestedAt_ms, token } = setUp();
    token.update("one", 90 * 86_400);
    clock.pass(72 * 86_400_000 - 1);
    expect(requestedAt_ms).toEqual([]);
    clock.pass(1);
    expect(requestedAt_ms).toHaveLength(1);
    token.update("two", null);
    expect(clock.pending).toBe(0);
  });

  it("schedules nothing after stop()", () => {
    const { clock, token } = setUp();
    token.update("one", 600);
    token.stop();
    expect(clock.pending).toBe(0);
  });
});
