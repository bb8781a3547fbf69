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

/**
 * Does a change that came by the socket concern the session, and may it hold the session's own edits?
 *
 * With write-through a tab receives its own session's edits from the room as well; waking the session for them would cost
 * a run each. Overwriting a map's entry deletes the value before it, so the deletions in such an update do not tell it
 * apart: a deletion counts only where nothing took the deleted thing's place.
 */
/** False only if every struct is of `own` and every deletion is an overwrite of a map's entry. */
export function concernsSession(transaction: Y.Transaction, own: ReadonlySet<number>): boolean {
  let hasStructs = false;
  for (const [client, clock] of transaction.afterState) {
    if (clock > (transaction.beforeState.get(client) ?? 0)) {
      if (!own.has(client)) {
        return true;
      }
      hasStructs = true;
    }
  }
  return !hasStructs || deletesOutright(transaction);
}

/**
 * False only if every struct is of others and there is no deletion that may be of `own`: one does not tell who made it. An
 * update may hold edits of several, because the room passes on together what came together.
 */
export function mayHoldEditsOf(transaction: Y.Transaction, own: ReadonlySet<number>): boolean {
  let hasStructs = false;
  for (const [client, clock] of transaction.afterState) {
    if (clock > (transaction.beforeState.get(client) ?? 0)) {
      if (own.has(client)) {
        return true;
      }
      hasStructs = true;
    }
  }
  return !hasStructs || deletesOutright(transaction);
}

function deletesOutright(transaction: Y.Transaction): boolean {
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

/** A map's entry that is not the newest of its key has the one that replaced it on its right. */
function isOverwritten(struct: Y.Item | Y.GC): boolean {
  return struct instanceof Y.Item && struct.parentSub !== null && struct.right !== null;
}
