/** The vectors that the Python replica reads too; tests/vectors/README.md tells their format. */
import { readFileSync } from "node:fs";
import { fromBase64 } from "lib0/buffer";
import { describe, expect, it } from "vitest";

import { Replica } from "./replica";

interface Vector {
  readonly seed: number;
  readonly updates: readonly string[];
  readonly deliveries: readonly (readonly number[])[];
  readonly state: Readonly<Record<string, unknown>>;
}

const FILE = new URL("../../tests/vectors/vectors.json", import.meta.url);
const { format, vectors } = JSON.parse(readFileSync(FILE, "utf8")) as { format: number; vectors: Vector[] };

/** What the document holds where JSON has no word for it. */
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

function stateAfter(updates: readonly Uint8Array[], delivery: readonly number[]): unknown {
  const replica = new Replica();
  for (const index of delivery) {
    replica.applyFromChannel(updates[index] ?? expect.fail(`the vector has no update ${index}`));
  }
  for (const update of updates) {
    replica.applyFromChannel(update);
  }
  const state = replica.doc.getMap("state").toJSON();
  replica.destroy();
  return state;
}

describe("the shared vectors", () => {
  it("are of the format that this reader knows", () => {
    expect(format).toBe(1);
    expect(vectors.length).toBeGreaterThan(0);
  });

  it.each(vectors)("R2, R3: seed $seed leads every delivery to the same state", (vector) => {
    const updates = vector.updates.map((update) => fromBase64(update));
    const expected = revive(vector.state);
    for (const delivery of [[], ...vector.deliveries]) {
      expect(stateAfter(updates, delivery)).toEqual(expected);
    }
  });
});
