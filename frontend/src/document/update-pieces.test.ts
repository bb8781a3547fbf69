import { describe, expect, it } from "vitest";
import * as Y from "yjs";

import { randomFrom } from "../testing";
import { cutUpdate } from "./update-pieces";

/** Return a document that several replicas wrote, each on the content of the others. */
function sharedDocument(seed: number): Y.Doc {
  const random = randomFrom(seed);
  const docs = [1, 2, 3, 4].map((id) => {
    const doc = new Y.Doc();
    doc.clientID = id * 1000 + seed;
    return doc;
  });
  const pick = (): Y.Doc => docs[random(docs.length)] ?? expect.fail();
  for (let step = 0; step < 40; step++) {
    const doc = pick();
    const text = doc.getText("t");
    text.insert(random(text.length + 1), ["a👍", "ß漢".repeat(20), "x"][random(3)] ?? "");
    const list = doc.getArray("l");
    list.insert(random(list.length + 1), [step, { a: [step] }, "y".repeat(50)]);
    if (list.length > 4 && random(2) === 0) {
      list.delete(random(list.length - 1), 1);
    }
    doc.getMap("m").set(`k${random(5)}`, random(2) === 0 ? step : new Y.Map([["n", step]]));
    const reader = pick();
    Y.applyUpdate(reader, Y.encodeStateAsUpdate(doc, Y.encodeStateVector(reader)));
  }
  const first = docs[0] ?? expect.fail();
  for (const doc of docs) {
    Y.applyUpdate(first, Y.encodeStateAsUpdate(doc));
  }
  return first;
}

function content(doc: Y.Doc): unknown {
  return [doc.getText("t").toJSON(), doc.getArray("l").toJSON(), doc.getMap("m").toJSON()];
}

describe("cutUpdate", () => {
  it.each([1, 2, 3])("R3: seed %i: the pieces apply in order and never wait", (seed) => {
    const doc = sharedDocument(seed);
    for (const maxBytes of [200, 1000]) {
      const copy = new Y.Doc();
      const pieces = cutUpdate(Y.encodeStateAsUpdate(doc), maxBytes);
      expect(pieces.length).toBeGreaterThan(1);
      for (const piece of pieces) {
        expect(piece.length).toBeLessThanOrEqual(Math.max(maxBytes, 300));
        Y.applyUpdate(copy, piece);
        expect([copy.store.pendingStructs, copy.store.pendingDs]).toEqual([null, null]);
      }
      expect(content(copy)).toEqual(content(doc));
      expect(Y.encodeStateVector(copy).length).toEqual(Y.encodeStateVector(doc).length);
    }
  });

  it("R3: a text and a list of one struct are split between elements", () => {
    const doc = new Y.Doc();
    doc.getText("t").insert(0, "👍".repeat(2000));
    doc.getArray("l").insert(
      0,
      Array.from({ length: 1000 }, (_, n) => n),
    );
    const pieces = cutUpdate(Y.encodeStateAsUpdate(doc), 1000);
    expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThanOrEqual(1000);
    const copy = new Y.Doc();
    for (const piece of pieces) {
      Y.applyUpdate(copy, piece);
    }
    expect(content(copy)).toEqual(content(doc));
  });

  it("a value above the limit is a piece of its own, and a small update stays as it is", () => {
    const doc = new Y.Doc();
    doc.getMap("m").set("large", new Uint8Array(5000));
    doc.getMap("m").set("small", 1);
    const update = Y.encodeStateAsUpdate(doc);
    expect(cutUpdate(update, 1000).map((piece) => piece.length > 1000)).toEqual([true, false]);
    expect(cutUpdate(update, update.length)).toEqual([update]);
  });
});
