// A stock y-websocket client for the server's tests. It says what happens as JSON lines on stdout, and takes
// commands as JSON lines on stdin: {"set": [key, value]}, {"delete": key}, {"user": state}. It ends with stdin.
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

const [url, room, token] = process.argv.slice(2);
const ydoc = new Y.Doc();
const state = ydoc.getMap("state");
const provider = new WebsocketProvider(url, room, ydoc, {
  params: token ? { token } : {},
  WebSocketPolyfill: WebSocket,
  disableBc: true,
});
const say = (report) => console.log(JSON.stringify(report));

const users = () => [...provider.awareness.getStates().values()].map((one) => one.user).filter(Boolean);

provider.on("status", ({ status }) => say({ status }));
provider.on("sync", (synced) => say({ synced }));
provider.on("closed", ({ code }) => say({ closed: code }));
state.observe(() => say({ state: state.toJSON() }));
provider.awareness.on("change", () => say({ users: users().sort() }));

const commands = createInterface({ input: process.stdin });
commands.on("line", (line) => {
  const command = JSON.parse(line);
  if (command.set) state.set(...command.set);
  if (command.delete) state.delete(command.delete);
  if (command.user) provider.awareness.setLocalStateField("user", command.user);
});
commands.on("close", () => {
  provider.destroy();
  process.exit(0);
});
