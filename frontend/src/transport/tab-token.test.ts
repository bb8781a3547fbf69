import { describe, expect, it } from "vitest";

import { FakeClock } from "../testing";
import { TabToken } from "./tab-token";

function setUp() {
  const clock = new FakeClock();
  const askedAt_ms: number[] = [];
  const news: (string | null)[] = [];
  const token = new TabToken(
    clock,
    () => askedAt_ms.push(clock.now_ms),
    () => news.push(token.text),
  );
  return { clock, askedAt_ms, news, token };
}

describe("a token (A2)", () => {
  it("is asked for anew when 80 % of its life has passed, once", () => {
    const { clock, askedAt_ms, token } = setUp();
    token.take("one", 600);
    clock.pass(3_600_000);
    expect(askedAt_ms).toEqual([480_000]);
    expect(clock.pending).toBe(0);
  });

  it("the next one starts the clock again", () => {
    const { clock, askedAt_ms, news, token } = setUp();
    token.take("one", 600);
    clock.pass(481_000);
    token.take("two", 600);
    clock.pass(481_000);
    expect(askedAt_ms).toEqual([480_000, 961_000]);
    expect(news).toEqual(["one", "two"]);
  });

  it("that comes again with each frame changes nothing, and neither does a frame without one", () => {
    const { clock, askedAt_ms, news, token } = setUp();
    token.take("one", 600);
    clock.pass(400_000);
    token.take("one", 200);
    token.take(null, null);
    clock.pass(80_000);
    expect(askedAt_ms).toEqual([480_000]);
    expect(news).toEqual(["one"]);
    expect(token.text).toBe("one");
  });

  it("that is refused is asked for once: a server that is down refuses for hours", () => {
    const { clock, askedAt_ms, token } = setUp();
    token.take("one", 600);
    for (let attempt = 0; attempt < 100; attempt++) {
      clock.pass(2_500);
      token.refused();
    }
    expect(askedAt_ms).toEqual([2_500]);
  });

  it("that grew old while the machine slept is asked for when it is refused", () => {
    const { clock, askedAt_ms, token } = setUp();
    token.take("one", 600);
    token.refused();
    clock.now_ms += 3_600_000;
    token.refused();
    token.refused();
    expect(askedAt_ms).toEqual([0, 3_600_000]);
  });

  it("that is refused is asked for once, also where the answer is a fresh one that is refused as well", () => {
    const { clock, askedAt_ms, token } = setUp();
    token.take("one", 600);
    for (let attempt = 0; attempt < 100; attempt++) {
      clock.pass(2_500);
      token.refused();
      token.take(`after refusal ${askedAt_ms.length}`, 600);
    }
    expect(askedAt_ms).toEqual([2_500]);
  });

  it("is asked for at the next refusal once a connection has opened", () => {
    const { clock, askedAt_ms, token } = setUp();
    token.take("one", 600);
    token.refused();
    token.take("two", 600);
    token.admitted();
    clock.pass(1_000);
    token.refused();
    expect(askedAt_ms).toEqual([0, 1_000]);
  });

  it("is not asked for where there is none", () => {
    const { askedAt_ms, token } = setUp();
    token.refused();
    expect(askedAt_ms).toEqual([]);
  });

  it("that lives for months, or for ever, is not asked for at once", () => {
    const { clock, askedAt_ms, token } = setUp();
    token.take("one", 90 * 86_400);
    clock.pass(72 * 86_400_000 - 1);
    expect(askedAt_ms).toEqual([]);
    clock.pass(1);
    expect(askedAt_ms).toHaveLength(1);
    token.take("two", null);
    expect(clock.pending).toBe(0);
  });

  it("stops with its tab", () => {
    const { clock, token } = setUp();
    token.take("one", 600);
    token.stop();
    expect(clock.pending).toBe(0);
  });
});
