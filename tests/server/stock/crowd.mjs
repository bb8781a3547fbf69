// Many y-websocket clients in one process, for tests under load. The argument is JSON: {url, seed, pauseMs, keepsAll,
// members: [{room, token}]}. Each member makes edits numbered 1, 2, 3 … and sends a saved query after each.
// Reports on stdout and commands on stdin are one JSON value per line:
//   {"saved": [name, number, level]}   all edits of this member up to that number are saved
//   {"report": [{name, status, synced, edits, state}]}
//   {"write": bool}, {"replace": {slot, room, token, abruptly}}, {"report": true}
// With `keepsAll`, edit n sets the key "name:n", and each fourth edit deletes the key of the previous edit. Otherwise a
// member overwrites the key of its slot, so that the document does not grow.
import { createInterface } from "node:readline";
import * as decoding from "lib0/decoding";
import * as encoding from "lib0/encoding";
import WebSocket from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

const MESSAGE_SYNC = 0;
const SYNC_STEP1 = 0;
const MESSAGE_SAVED = 102;
const TEXT_LENGTH = 200;

const options = JSON.parse(process.argv[2]);
const say = (report) => console.log(JSON.stringify(report));

/** mulberry32, a seeded random number generator. */
const makeRandom = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};
const random = makeRandom(options.seed);
const below = (limit) => Math.floor(random() * limit);

// Each character of the text is one UTF-16 unit: pycrdt 0.14.13 encodes half a surrogate pair as a text of length 0.
class Member {
  constructor(name, slot, { room, token }) {
    Object.assign(this, { name, slot, edits: 0, hasAnswered: false });
    this.ydoc = new Y.Doc();
    this.state = this.ydoc.getMap("state");
    this.text = this.ydoc.getText("text");
    this.provider = new WebsocketProvider(options.url, room, this.ydoc, {
      params: { token },
      WebSocketPolyfill: WebSocket,
      disableBc: true,
      maxBackoffTime: 400,
    });
    this.provider.awareness.setLocalStateField("user", { name });
    this.provider.on("status", ({ status }) => Object.assign(this, { status, hasAnswered: false }));
    this.provider.on("closed", ({ code, reason }) => (this.status = `closed with ${code}: ${reason}`));
    this.handleMessages(this.provider.messageHandlers);
  }

  /** Saved queries start after the answer to the SyncStep1 of the server: before, the server may lack earlier edits. */
  handleMessages(readers) {
    const readSync = readers[MESSAGE_SYNC];
    readers[MESSAGE_SYNC] = (encoder, decoder, ...others) => {
      const isStep1 = decoding.peekVarUint(decoder) === SYNC_STEP1;
      readSync(encoder, decoder, ...others);
      if (isStep1) {
        queueMicrotask(() => {
          this.hasAnswered = true;
          this.querySaved();
        });
      }
    };
    readers[MESSAGE_SAVED] = (_encoder, decoder) => {
      const answer = decoding.createDecoder(decoding.readVarUint8Array(decoder));
      const [number, level, status] = [0, 1, 2].map(() => decoding.readVarUint(answer));
      if (status === 0) say({ saved: [this.name, number, level] });
    };
  }

  querySaved() {
    const { ws, wsconnected } = this.provider;
    if (!this.hasAnswered || !wsconnected || ws?.readyState !== ws?.OPEN) return;
    const query = encoding.encode((encoder) => {
      encoding.writeVarUint(encoder, MESSAGE_SAVED);
      encoding.writeVarUint8Array(
        encoder,
        encoding.encode((content) => encoding.writeVarUint(content, this.edits)),
      );
    });
    ws.send(query);
  }

  edit() {
    this.edits += 1;
    this.ydoc.transact(() => (options.keepsAll ? this.addKey() : this.overwrite()));
    if (random() < 0.1) this.provider.awareness.setLocalStateField("cursor", this.edits);
    this.querySaved();
  }

  addKey() {
    if (this.edits % 4 === 0) this.state.delete(`${this.name}:${this.edits - 1}`);
    else this.state.set(`${this.name}:${this.edits}`, "x👍é".repeat(below(60)));
    this.state.set("shared", `${this.name}:${this.edits}`);
    if (this.text.length > TEXT_LENGTH) this.text.delete(below(TEXT_LENGTH), 20);
    else this.text.insert(below(this.text.length + 1), "abé");
  }

  overwrite() {
    this.state.set(`slot${this.slot}`, `${this.name}:${this.edits}:${"x".repeat(below(500))}`);
  }

  report() {
    const { name, edits, status, provider } = this;
    const state = { ...this.state.toJSON(), text: this.text.toString() };
    return { name, edits, status, synced: provider.synced, state };
  }

  leave(abruptly) {
    if (abruptly) this.provider.ws?.terminate?.();
    this.provider.destroy();
    this.ydoc.destroy();
  }
}

let count = 0;
const join = (slot, place) => new Member(`m${count++}`, slot, place);
const members = options.members.map((place, slot) => join(slot, place));
let writing = null;

const write = () => {
  members[below(members.length)].edit();
  writing = setTimeout(write, random() * 2 * options.pauseMs);
};

const commands = createInterface({ input: process.stdin });
commands.on("line", (line) => {
  const { write: mayWrite, replace, report } = JSON.parse(line);
  if (mayWrite !== undefined) clearTimeout(writing);
  if (mayWrite) write();
  if (replace) {
    members[replace.slot].leave(replace.abruptly);
    members[replace.slot] = join(replace.slot, replace);
  }
  if (report) say({ report: members.map((member) => member.report()) });
});
commands.on("close", () => process.exit(0));
