import { describe, expect, it } from "vitest";
import { fromBase64 } from "lib0/buffer";

import { FrameError } from "../errors";
import { randomFrom, sessionHeader } from "../testing";
import { decodeFrame, decodeStateVector, encodeFrame, encodeFrameBytes, narrowHeader } from "./frame";

const update = new Uint8Array([1, 2, 3, 250]);

describe("a frame", () => {
  it("decodes to what was encoded", () => {
    const header = sessionHeader({
      id: 2 ** 53 - 1,
      v: 7,
      since: 3,
      ack_of: 5,
      ack: 4,
      settle: true,
      own: [1, 2],
    });
    const frame = decodeFrame(encodeFrameBytes(header, update));
    expect(frame.header).toEqual(narrowHeader(header));
    expect(frame.update).toEqual(update);
  });

  it("consists of version, header length, header, update", () => {
    const bytes = fromBase64(encodeFrame({ ...tabHeader(), room: "ü" } as never, update));
    expect(bytes[0]).toBe(1);
    const length = (bytes[1] ?? 0) - 128 + 128 * (bytes[2] ?? 0);
    const header: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(3, 3 + length)));
    expect(header).toMatchObject({ id: 1, room: "ü", why: "hello" });
    expect(bytes.subarray(3 + length)).toEqual(update);
  });

  it("decodes from a view into a larger buffer", () => {
    const bytes = encodeFrameBytes(sessionHeader({ v: 9 }), update);
    const around = new Uint8Array(bytes.length + 20);
    around.set(bytes, 10);
    const frame = decodeFrame(around.subarray(10, 10 + bytes.length));
    expect(frame.header.v).toBe(9);
    expect(frame.update).toEqual(update);
  });

  it.each([
    ["empty", []],
    ["of another channel version", [2, 2, 123, 125]],
    ["shorter than its header", [1, 100, 123, 125]],
    ["without an end of the header length", [1, ...Array<number>(200).fill(255)]],
    ["with a header that is not JSON", [1, 1, 123]],
    ["with a header that is not UTF-8", [1, 3, 34, 255, 34]],
    ["with a header that is not an object", [1, 2, 91, 93]],
  ])("is rejected when it is %s", (_name, bytes) => {
    expect(() => decodeFrame(new Uint8Array(bytes))).toThrow(FrameError);
  });

  it("of random bytes throws FrameError and no other error", () => {
    const seed = 20_260;
    const random = randomFrom(seed);
    const good = encodeFrameBytes(sessionHeader({ sv: "AA==" }), update);
    for (let round = 0; round < 3_000; round++) {
      const bytes = round % 2 === 0 ? good.slice(0, random(good.length + 1)) : new Uint8Array(random(64));
      for (let flips = random(4); flips >= 0 && bytes.length > 0; flips--) {
        bytes[random(bytes.length)] = random(256);
      }
      try {
        decodeFrame(bytes);
      } catch (error) {
        expect(error, `seed ${seed}, round ${round}`).toBeInstanceOf(FrameError);
      }
    }
  });
});

describe("a session's header", () => {
  it.each([
    ["id", -1],
    ["id", 1.5],
    ["id", 2 ** 53],
    ["id", "1"],
    ["v", null],
    ["since", undefined],
    ["ack", Number.NaN],
    ["room", 4],
    ["build", null],
    ["sv", 3],
    ["poll_s", 0],
    ["poll_s", "2"],
    ["confirm", true],
    ["own", [1, "2"]],
    ["own", {}],
    ["socket", "ws://a/b"],
    ["socket", { url: "javascript:alert(1)" }],
    ["socket", { url: "ws://" }],
    ["socket", { port: 1 }],
    ["socket", { port: "1", path: "/r" }],
    ["socket", { path: "r" }],
    ["token", ""],
    ["token", "a b"],
    ["token", "x".repeat(8_193)],
    ["token", 1],
    ["token_expires_in_s", 0],
    ["token_expires_in_s", "600"],
    ["epoch", "0".repeat(31)],
    ["epoch", "G".repeat(32)],
    ["epoch", `${"0".repeat(32)}\n`],
    ["role", "admin"],
    ["role", true],
    ["wants_saved", 1],
    ["unsaved", -1],
    ["refused_edits", -1],
    ["refused_edits", "1"],
    ["deleted", 1],
  ])("is rejected when %s is %j", (field, value) => {
    expect(() => narrowHeader({ ...sessionHeader(), [field]: value })).toThrow(FrameError);
  });

  it("has three kinds of socket location", () => {
    const location = (socket: unknown) => narrowHeader({ ...sessionHeader(), socket }).socket;
    expect(location({ url: "ws://h:1/r" })).toEqual({ kind: "url", url: "ws://h:1/r" });
    expect(location({ port: 8765, path: "/r" })).toEqual({ kind: "port", port: 8765, path: "/r" });
    expect(location({ path: "/crdt/r" })).toEqual({ kind: "path", path: "/crdt/r" });
    expect(location(null)).toBeNull();
  });

  it("has defaults for token, epoch, role and save status", () => {
    expect(narrowHeader(sessionHeader())).toMatchObject({
      token: null,
      token_expires_in_s: null,
      epoch: null,
      role: "editor",
      wants_saved: false,
      unsaved: 0,
      refused_edits: 0,
      deleted: false,
    });
  });

  it("contains token, epoch, role and save status", () => {
    const fields = {
      token: "eyJ.a-b_c.d~e",
      token_expires_in_s: 600,
      epoch: "0f".repeat(16),
      role: "viewer",
      wants_saved: true,
      unsaved: 2,
      refused_edits: 1,
      deleted: true,
    };
    expect(narrowHeader(sessionHeader(fields))).toMatchObject(fields);
  });

  it("loses unknown fields", () => {
    expect(narrowHeader({ ...sessionHeader(), token: "t", later: {} })).not.toHaveProperty("later");
  });
});

it("an invalid state vector is rejected", () => {
  expect(decodeStateVector("AA==")).toEqual(new Uint8Array([0]));
  expect(() => decodeStateVector("////")).toThrow(FrameError);
});

function tabHeader() {
  return { id: 1, v: 1, since: 0, ack_of: null, ack: 0, build: "b", why: "hello", pad: "x".repeat(100) };
}
