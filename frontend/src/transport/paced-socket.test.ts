import { describe, expect, it } from "vitest";
import { createDecoder, readVarUint, readVarUint8Array } from "lib0/decoding";
import * as encoding from "lib0/encoding";
import * as Y from "yjs";

import { FakeClock } from "../testing";
import { MAX_MESSAGE_BYTES, MessageQueue } from "./paced-socket";
import { encodeRenewal, encodeSavedQuery } from "./protocol";

function setUp() {
  const clock = new FakeClock();
  const sent: Uint8Array[] = [];
  const network = { bufferedAmount: 0, isOpen: true, isFast: true };
  const queue = new MessageQueue(
    {
      get bufferedAmount() {
        return network.bufferedAmount;
      },
      get isOpen() {
        return network.isOpen;
      },
      transmit(message) {
        sent.push(message);
        network.bufferedAmount = network.isFast ? 0 : message.length;
      },
    },
    clock,
  );
  return { clock, sent, network, queue };
}

function updateMessage(type: number, values: number, byteCount: number): { doc: Y.Doc; message: Uint8Array } {
  const doc = new Y.Doc();
  for (let n = 0; n < values; n++) {
    doc.getMap("m").set(`k${n}`, new Uint8Array(byteCount).fill(n));
  }
  const message = encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, 0);
    encoding.writeVarUint(encoder, type);
    encoding.writeVarUint8Array(encoder, Y.encodeStateAsUpdate(doc));
  });
  return { doc, message };
}

/** Apply sync messages to a new document, and return their subtypes. */
function receive(messages: readonly Uint8Array[], doc: Y.Doc): number[] {
  return messages.map((message) => {
    const decoder = createDecoder(message);
    expect(readVarUint(decoder)).toBe(0);
    const type = readVarUint(decoder);
    Y.applyUpdate(doc, readVarUint8Array(decoder));
    return type;
  });
}

describe("message queue", () => {
  it("R3: a large answer leaves in updates, and sync step 2 is last", () => {
    const { sent, queue } = setUp();
    const { doc, message } = updateMessage(1, 5, 700_000);
    queue.send(message);
    expect(Math.max(...sent.map(({ length }) => length))).toBeLessThan(MAX_MESSAGE_BYTES);
    const copy = new Y.Doc();
    expect(receive(sent, copy)).toEqual([2, 2, 2, 2, 1]);
    expect(copy.getMap("m").size).toBe(doc.getMap("m").size);
  });

  it("A3, S5: presences and tokens pass a large update; a query stays behind it", () => {
    const { clock, sent, network, queue } = setUp();
    network.isFast = false;
    queue.send(updateMessage(2, 3, 900_000).message);
    const presence = new Uint8Array([1, 1, 0]);
    queue.send(encodeSavedQuery(7));
    queue.send(presence);
    queue.send(encodeRenewal("t"));
    expect(sent.map((message) => message[0])).toEqual([0, 1, 104]);
    network.isFast = true;
    network.bufferedAmount = 0;
    clock.pass(20);
    expect(sent.map((message) => message[0])).toEqual([0, 1, 104, 0, 0, 102]);
  });

  it("a large value leaves in fragments only if the server accepts them", () => {
    const { sent, queue } = setUp();
    const { message } = updateMessage(2, 1, 3 * MAX_MESSAGE_BYTES);
    queue.send(message);
    expect(sent.splice(0)).toHaveLength(1);
    queue.acceptFragments(16 * MAX_MESSAGE_BYTES);
    queue.send(message);
    expect(sent.map((part) => [part[0], part[1]])).toEqual([
      [105, 1],
      [105, 1],
      [105, 1],
      [105, 2],
    ]);
    expect(sent.reduce((sum, part) => sum + part.length - 2, 0)).toBe(message.length);
  });

  it("sends nothing after the connection has closed", () => {
    const { clock, sent, network, queue } = setUp();
    network.isFast = false;
    queue.send(updateMessage(2, 3, 900_000).message);
    network.isOpen = false;
    clock.pass(20);
    expect(sent).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });
});
