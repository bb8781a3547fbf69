/** Test vectors shared with the Python replica. tests/vectors/README.md describes their format. */
import { readFileSync } from "node:fs";
import { fromBase64 } from "lib0/buffer";
import { describe, expect, it } from "vitest";
import type * as Y from "yjs";

import { Replica } from "./replica";

interface Vector {
  readonly seed: number;
  readonly updates: readonly string[];
  readonly deliveries: readonly (readonly number[])[];
  readonly state: Readonly<Record<string, unknown>>;
}

interface MergedVector extends Omit<Vector, "state"> {
  readonly roots: Readonly<Record<string, unknown>>;
}

const FILE = new URL("../../../tests/vectors/vectors.json", import.meta.url);
const { format, vectors, merged } = JSON.parse(readFileSync(FILE, "utf8")) as {
  format: number;
  vectors: Vector[];
  merged: MergedVector[];
};

/** Replace the JSON stand-ins of bytes and special numbers by their values. */
function revive(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(revive);
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  const fields = Object.entries(value as Record<string, unknown>);
  const [name, content] = fields.length === 1 ? (fields[0] ?? []) : [];
  if (name === "$bytes") {
    return fromBase64(content as string);
  }
  if (name === "$number") {
    return Number(content);
  }
  return Object.fromEntries(fields.map(([key, item]) => [key, revive(item)]));
}

function readAfter<T>(
  updates: readonly Uint8Array[],
  delivery: readonly number[],
  read: (doc: Y.Doc) => T,
): T {
  const replica = new Replica();
  for (const index of delivery) {
    replica.applyFromChannel(updates[index] ?? expect.fail(`the vector has no update ${index}`));
  }
  for (const update of updates) {
    replica.applyFromChannel(update);
  }
  const content = read(replica.doc);
  replica.destroy();
  return content;
}

function readState(doc: Y.Doc): unknown {
  return doc.getMap("state").toJSON();
}

/** Read the root types of merged values, named `kind:KEY`. */
function readRoots(doc: Y.Doc): unknown {
  return {
    "text:k-text": doc.getText("text:k-text").toJSON(),
    "list:k-list": doc.getArray("list:k-list").toJSON(),
    "records:k-records": doc.getMap("records:k-records").toJSON(),
    "map:k-map": doc.getMap("map:k-map").toJSON(),
    "set:k-set": doc.getMap("set:k-set").toJSON(),
    "counter:k-counter": doc.getMap("counter:k-counter").toJSON(),
  };
}

describe("shared vectors", () => {
  it("have format 2 and are not empty", () => {
    expect(format).toBe(2);
    expect(merged.length).toBeGreaterThan(0);
    expect(vectors.length).toBeGreaterThan(0);
  });

  it.each(vectors)("R2, R3: seed $seed has the same state after every delivery", (vector) => {
    const updates = vector.updates.map((update) => fromBase64(update));
    const expected = revive(vector.state);
    for (const delivery of [[], ...vector.deliveries]) {
      expect(readAfter(updates, delivery, readState)).toEqual(expected);
    }
  });

  it.each(merged)("R2, R3: merged seed $seed has the same values after every delivery", (vector) => {
    const updates = vector.updates.map((update) => fromBase64(update));
    const expected = revive(vector.roots);
    for (const delivery of [[], ...vector.deliveries]) {
      expect(readAfter(updates, delivery, readRoots)).toEqual(expected);
    }
  });
});
