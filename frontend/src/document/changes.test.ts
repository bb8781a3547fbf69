import { describe, expect, it } from "vitest";
import * as Y from "yjs";

import { changedKeys, describeKey } from "./changes";

function keysOfEdit(doc: Y.Doc, edit: () => void): string[] {
  let keys: string[] = [];
  const listen = (_update: Uint8Array, _origin: unknown, _doc: Y.Doc, transaction: Y.Transaction): void => {
    keys = [...changedKeys(transaction)].sort();
  };
  doc.on("update", listen);
  doc.transact(edit);
  doc.off("update", listen);
  return keys;
}

describe("changedKeys", () => {
  it("contains the entries of the state map that were set or deleted", () => {
    const doc = new Y.Doc();
    const state = doc.getMap("state");
    state.set("gone", 1);
    const keys = keysOfEdit(doc, () => {
      state.set("a", 1);
      state.delete("gone");
    });
    expect(keys).toEqual(["a", "gone"]);
  });

  it("takes keys from names of other root types, if they contain one", () => {
    const doc = new Y.Doc();
    const keys = keysOfEdit(doc, () => {
      doc.getText("text:note").insert(0, "x");
      doc.getArray("list:a:b").push([1]);
      doc.getMap("meta").set("epoch", 1);
      doc.getMap("elsewhere").set("x", 1);
    });
    expect(keys).toEqual(["a:b", "note"]);
  });

  it("contains the key of a change in a nested type, from another replica", () => {
    const author = new Y.Doc();
    const nested = new Y.Map<unknown>();
    author.getMap("state").set("deep", nested);
    const doc = new Y.Doc();
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(author));
    nested.set("x", new Y.Map());
    const update = Y.encodeStateAsUpdate(author, Y.encodeStateVector(doc));
    expect(
      keysOfEdit(doc, () => {
        Y.applyUpdate(doc, update);
      }),
    ).toEqual(["deep"]);
  });
});

describe("describeKey", () => {
  it("appends the value if it has at most 200 characters", () => {
    const doc = new Y.Doc();
    doc.getMap("state").set("a", { $tuple: [1, "é"] });
    doc.getMap("state").set("long", "x".repeat(199));
    doc.getMap("state").set("short", "x".repeat(198));
    expect(describeKey(doc, "a")).toBe('a: {"$tuple":[1,"é"]}');
    expect(describeKey(doc, "long")).toBe("long");
    expect(describeKey(doc, "short")).toBe(`short: "${"x".repeat(198)}"`);
    expect(describeKey(doc, "gone")).toBe("gone: (deleted)");
  });

  it("reads the value from any root type, also one from another replica", () => {
    const author = new Y.Doc();
    author.getText("text:t").insert(0, "hi");
    author.getArray("list:l").push([1]);
    author.getMap("counter:c").set("1", 2);
    author.getMap("state").set("c", { $rule: ["counter", null] });
    author.getMap("records:r").set("~i1", ["a0", 3]);
    const doc = new Y.Doc();
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(author));
    expect(["t", "l", "c"].map((key) => describeKey(doc, key))).toEqual(['t: "hi"', "l: [1]", 'c: {"1":2}']);
    expect(describeKey(doc, "r")).toBe('r: {"~i1":["a0",3]}');
  });
});
