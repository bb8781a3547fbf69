// Reads {"update", "edits"} as JSON from stdin. Applies the edits to the text "text:k" at UTF-16 positions. Writes the
// update of the edits and the resulting text as JSON to stdout.
import * as Y from "yjs";

const chunks = [];
for await (const chunk of process.stdin) {
  chunks.push(chunk);
}
const { update, edits } = JSON.parse(Buffer.concat(chunks).toString());
const doc = new Y.Doc();
Y.applyUpdate(doc, Buffer.from(update, "base64"));
const text = doc.getText("text:k");
const before = Y.encodeStateVector(doc);
for (const [at, length, inserted] of edits) {
  text.delete(at, length);
  text.insert(at, inserted);
}
const made = Buffer.from(Y.encodeStateAsUpdate(doc, before)).toString("base64");
process.stdout.write(JSON.stringify({ update: made, text: text.toString() }));
