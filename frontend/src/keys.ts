/** Which of the app's keys a transaction changed, and what they hold. ARCHITECTURE: root types are named `kind:KEY`. */
import * as Y from "yjs";

/** The root map that holds one entry for each key of the rule "value". */
const STATE = "state";
/** Kinds of root types whose name holds the key. */
const KINDED = /^(text|list|map|set|counter|table|rows):(.*)$/s;

/** A longer value is more than a person wants to read in a notice. */
const MAX_VALUE_CHARACTERS = 200;

export function changedKeys(transaction: Y.Transaction): Set<string> {
  const keys = new Set<string>();
  for (const [type, entries] of transaction.changed) {
    for (const key of keysOf(transaction.doc, type as Y.AbstractType<unknown>, entries)) {
      keys.add(key);
    }
  }
  return keys;
}

/** A key as a person reads it: with its value in JSON, if that is short. */
export function describeKey(doc: Y.Doc, key: string): string {
  const value = valueOf(doc, key);
  const words = value === undefined ? "(deleted)" : JSON.stringify(value);
  return words.length > MAX_VALUE_CHARACTERS ? key : `${key}: ${words}`;
}

function keysOf(doc: Y.Doc, type: Y.AbstractType<unknown>, entries: Set<string | null>): Iterable<string> {
  let root = type;
  let within = entries;
  while (root._item !== null) {
    within = new Set([root._item.parentSub]);
    root = root._item.parent as Y.AbstractType<unknown>;
  }
  const name = rootName(doc, root);
  if (name === STATE) {
    return [...within].filter((entry) => entry !== null);
  }
  const key = KINDED.exec(name ?? "")?.[2];
  return key === undefined ? [] : [key];
}

function rootName(doc: Y.Doc, root: Y.AbstractType<unknown>): string | undefined {
  for (const [name, type] of doc.share) {
    if (type === (root as unknown)) {
      return name;
    }
  }
  return undefined;
}

function valueOf(doc: Y.Doc, key: string): unknown {
  const state = doc.getMap(STATE);
  if (state.has(key)) {
    const value = state.get(key);
    return value instanceof Y.AbstractType ? (value.toJSON() as unknown) : value;
  }
  if (doc.share.has(`text:${key}`)) {
    return doc.getText(`text:${key}`).toJSON();
  }
  if (doc.share.has(`list:${key}`)) {
    return doc.getArray(`list:${key}`).toJSON();
  }
  const kind = ["map", "set", "counter", "table"].find((name) => doc.share.has(`${name}:${key}`));
  return kind === undefined ? undefined : doc.getMap(`${kind}:${key}`).toJSON();
}
