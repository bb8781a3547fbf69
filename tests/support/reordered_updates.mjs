// Random edits of several Yjs clients and a random delivery of their updates: the oracle of the tests of rule S6.
//
// Usage: node reordered_updates.mjs FIRST_SEED COUNT. Prints one JSON object per seed and line:
//   deliveries  updates in base64, as they arrive: delayed, reordered, repeated, merged, some dropped
//   partial     the document of Yjs after these deliveries
//   rest        the dropped updates
//   complete    the document of Yjs after everything

import * as Y from "yjs";

const ROOTS = { state: Y.Map, t: Y.Text, a: Y.Array };
// Seeds that share one history of edits. Each has a delivery of its own.
const DELIVERIES = 3;
const WORDS = ["ab", "x", "hello", "é", "q", "long text"];

function generator(seed) {
  let state = (seed * 2654435761 + 1) >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const below = (end) => Math.floor(random() * end);
  return { random, below, pick: (items) => items[below(items.length)] };
}

function createDocument(clientId) {
  const ydoc = new Y.Doc();
  if (clientId !== undefined) ydoc.clientID = clientId;
  for (const [name, type] of Object.entries(ROOTS)) ydoc.get(name, type);
  return ydoc;
}

function createValue(from) {
  const kind = from.below(6);
  if (kind === 0) return new Y.Map([["n", from.below(9)]]);
  if (kind === 1) return Y.Array.from([from.below(9), from.pick(WORDS)]);
  if (kind === 2) return new Y.Text(from.pick(WORDS));
  return kind === 3 ? from.pick(WORDS) : kind === 4 ? { k: [from.below(9)] } : from.below(100);
}

function editMap(map, from) {
  const key = `k${from.below(4)}`;
  if (from.random() < 0.25) map.delete(key);
  else map.set(key, createValue(from));
}

function editSequence(sequence, from) {
  const length = sequence.length;
  if (length > 0 && from.random() < 0.35) {
    const start = from.below(length);
    sequence.delete(start, 1 + from.below(Math.min(3, length - start)));
  } else if (sequence instanceof Y.Text) {
    const start = from.below(length + 1);
    if (length > start && from.random() < 0.15) sequence.format(start, 1 + from.below(length - start), { b: from.random() < 0.7 ? true : null });
    else sequence.insert(start, from.pick(WORDS));
  } else {
    const values = Array.from({ length: 1 + from.below(3) }, () => createValue(from));
    sequence.insert(from.below(length + 1), values);
  }
}

function children(type) {
  const values = type instanceof Y.Map ? [...type.values()] : type instanceof Y.Array ? type.toArray() : [];
  return values.filter((value) => value instanceof Y.AbstractType);
}

function edit(ydoc, from) {
  let type = ydoc.get(...from.pick(Object.entries(ROOTS)));
  for (let nested = children(type); nested.length > 0 && from.random() < 0.6; nested = children(type)) {
    type = from.pick(nested);
  }
  if (type instanceof Y.Map) editMap(type, from);
  else editSequence(type, from);
}

function shuffle(items, from, window) {
  const keyed = items.map((item, index) => [index + from.random() * window, item]);
  return keyed.sort((one, other) => one[0] - other[0]).map(([, item]) => item);
}

// Returns the updates of all clients in the order in which they were made.
function createUpdates(from) {
  const clients = Array.from({ length: 2 + from.below(3) }, () => createDocument(1 + from.below(2 ** 30)));
  const updates = [];
  const unsent = clients.map(() => []);
  clients.forEach((ydoc, own) => {
    ydoc.on("update", (update, origin) => {
      if (origin === "remote") return;
      updates.push(update);
      unsent.forEach((queue, other) => other !== own && queue.push(update));
    });
  });
  const window = from.pick([0, 0, 3]);
  for (let step = 8 + from.below(20); step > 0; step--) {
    const index = from.below(clients.length);
    const ydoc = clients[index];
    if (from.random() < 0.4) {
      const received = unsent[index].splice(0, 1 + from.below(unsent[index].length + 1));
      for (const update of shuffle(received, from, window)) Y.applyUpdate(ydoc, update, "remote");
    } else if (from.random() < 0.3) {
      ydoc.transact(() => Array.from({ length: 3 }, () => edit(ydoc, from)));
    } else {
      edit(ydoc, from);
    }
    if (from.random() < 0.05) updates.push(Y.encodeStateAsUpdate(ydoc, Y.encodeStateVector(from.pick(clients))));
  }
  return updates;
}

function createDelivery(updates, from) {
  const dropRate = from.pick([0, 0, 0.1, 0.3]);
  const isDropped = updates.map(() => from.random() < dropRate);
  const kept = updates.filter((_, index) => !isDropped[index]);
  const repeated = kept.filter(() => from.random() < 0.1);
  const delivered = shuffle([...kept, ...repeated], from, from.pick([0, 2, 6, kept.length, kept.length]));
  const deliveries = [];
  while (delivered.length > 0) {
    const batch = delivered.splice(0, from.random() < 0.2 ? 1 + from.below(4) : 1);
    deliveries.push(batch.length > 1 ? Y.mergeUpdates(batch) : batch[0]);
  }
  return { deliveries, rest: shuffle(updates.filter((_, index) => isDropped[index]), from, 4) };
}

function read(ydoc) {
  const clocks = [...ydoc.store.clients.keys()].map((client) => [client, Y.getState(ydoc.store, client)]);
  return {
    state: ydoc.getMap("state").toJSON(),
    t: ydoc.getText("t").toString(),
    a: ydoc.getArray("a").toJSON(),
    clocks: Object.fromEntries(clocks.sort((one, other) => one[0] - other[0])),
  };
}

function createHistory(number) {
  const updates = createUpdates(generator(number));
  const ydoc = createDocument();
  for (const update of updates) Y.applyUpdate(ydoc, update);
  return { number, updates, complete: read(ydoc) };
}

function createCase(seed, { updates, complete }) {
  const { deliveries, rest } = createDelivery(updates, generator(-1 - seed));
  const ydoc = createDocument();
  for (const update of deliveries) Y.applyUpdate(ydoc, update);
  const encode = (updates) => updates.map((update) => Buffer.from(update).toString("base64"));
  return { seed, deliveries: encode(deliveries), partial: read(ydoc), rest: encode(rest), complete };
}

const [first, count] = process.argv.slice(2).map(Number);
let history = createHistory(Math.floor(first / DELIVERIES));
for (let seed = first; seed < first + count; seed++) {
  const number = Math.floor(seed / DELIVERIES);
  if (number !== history.number) history = createHistory(number);
  process.stdout.write(`${JSON.stringify(createCase(seed, history))}\n`);
}
