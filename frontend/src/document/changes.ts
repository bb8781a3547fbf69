/** Interpretation of a transaction: the changed keys, and the replica ids that wrote it. */
import * as Y from "yjs";

/** Root map with one entry for each key of the merge rule "value". */
const STATE = "state";
/** Names of the other root types: `kind:KEY`. */
const KIND_AND_KEY = /^(text|list|records|map|set|counter|table|rows):(.*)$/s;

/** Characters of a value in JSON that a notice shows. A key with a longer value is shown without it. */
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

/** Return the key for display: with its value in JSON, unless that is too long. */
export function describeKey(doc: Y.Doc, key: string): string {
  const value = valueOf(doc, key);
  const text = value === undefined ? "(deleted)" : JSON.stringify(value);
  return text.length > MAX_VALUE_CHARACTERS ? key : `${key}: ${text}`;
}

/**
 * Return false if the replica ids `own` wrote every struct, and every deletion only overwrites an entry of a map.
 *
 * With write-through a tab receives its own session's edits from the room too. Waking the session for them would cost a
 * script run each. Overwriting a map entry deletes the former value, so an overwrite does not count as a deletion.
 */
export function concernsSession(transaction: Y.Transaction, own: ReadonlySet<number>): boolean {
  const authors = authorsOf(transaction);
  return authors.some((author) => !own.has(author)) || authors.length === 0 || hasDeletion(transaction);
}

/**
 * Return false if other replicas wrote every struct and nothing is deleted. A deletion does not name its author, so it may
 * be of `own`. One update may contain edits of several authors, because the room merges updates that arrive together.
 */
export function mayContainEditsOf(transaction: Y.Transaction, own: ReadonlySet<number>): boolean {
  const authors = authorsOf(transaction);
  return authors.some((author) => own.has(author)) || authors.length === 0 || hasDeletion(transaction);
}

function keysOf(doc: Y.Doc, type: Y.AbstractType<unknown>, entries: Set<string | null>): Iterable<string> {
  let root = type;
  let rootEntries = entries;
  while (root._item !== null) {
    rootEntries = new Set([root._item.parentSub]);
    root = root._item.parent as Y.AbstractType<unknown>;
  }
  const name = rootName(doc, root);
  if (name === STATE) {
    return [...rootEntries].filter((entry) => entry !== null);
  }
  const key = KIND_AND_KEY.exec(name ?? "")?.[2];
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

/** Return whether another root stores the value. */
function isRuleMark(value: unknown): boolean {
  return typeof value === "object" && value !== null && "$rule" in value;
}

function valueOf(doc: Y.Doc, key: string): unknown {
  const state = doc.getMap(STATE);
  const value = state.get(key);
  if (state.has(key) && !isRuleMark(value)) {
    return value instanceof Y.AbstractType ? (value.toJSON() as unknown) : value;
  }
  if (doc.share.has(`text:${key}`)) {
    return doc.getText(`text:${key}`).toJSON();
  }
  if (doc.share.has(`list:${key}`)) {
    return doc.getArray(`list:${key}`).toJSON();
  }
  const kind = ["records", "map", "set", "counter", "table"].find((name) => doc.share.has(`${name}:${key}`));
  return kind === undefined ? undefined : doc.getMap(`${kind}:${key}`).toJSON();
}

/** Return the replica ids of the structs that the transaction added. */
function authorsOf({ beforeState, afterState }: Y.Transaction): number[] {
  const added = [...afterState].filter(([author, clock]) => clock > (beforeState.get(author) ?? 0));
  return added.map(([author]) => author);
}

/** Return whether the transaction deletes anything that no newer map entry replaced. */
function hasDeletion(transaction: Y.Transaction): boolean {
  for (const [client, ranges] of transaction.deleteSet.clients) {
    const structs = transaction.doc.store.clients.get(client) ?? [];
    for (const { clock, len } of ranges) {
      for (const struct of structsBetween(structs, clock, clock + len)) {
        if (!isOverwritten(struct)) {
          return true;
        }
      }
    }
  }
  return false;
}

function* structsBetween(structs: (Y.Item | Y.GC)[], from: number, to: number): Generator<Y.Item | Y.GC> {
  if (structs.length === 0) {
    return;
  }
  for (let index = Y.findIndexSS(structs, from); index < structs.length; index++) {
    const struct = structs[index];
    if (struct === undefined || struct.id.clock >= to) {
      return;
    }
    yield struct;
  }
}

/** Return whether a struct is a former entry of a map. Yjs links the entry that replaced it as its right neighbor. */
function isOverwritten(struct: Y.Item | Y.GC): boolean {
  return struct instanceof Y.Item && struct.parentSub !== null && struct.right !== null;
}
