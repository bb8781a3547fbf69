/**
 * Does a change that came by the socket concern the session, and may it hold the session's own edits?
 *
 * With write-through a tab receives its own session's edits from the room as well; waking the session for them would cost
 * a run each. Overwriting a map's entry deletes the value before it, so the deletions in such an update do not tell it
 * apart: a deletion counts only where nothing took the deleted thing's place.
 */
import * as Y from "yjs";

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
