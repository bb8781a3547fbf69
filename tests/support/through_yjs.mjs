// Reads a base64 update from stdin. Copies every value of its map "state" into a second document. Writes the update of
// the second document as base64 to stdout.
import * as Y from "yjs";

const chunks = [];
for await (const chunk of process.stdin) {
  chunks.push(chunk);
}
const read = new Y.Doc();
Y.applyUpdate(read, Buffer.from(Buffer.concat(chunks).toString(), "base64"));
const written = new Y.Doc();
const target = written.getMap("state");
for (const [key, value] of read.getMap("state")) {
  target.set(key, value);
}
process.stdout.write(Buffer.from(Y.encodeStateAsUpdate(written)).toString("base64"));
