// A y-websocket client for the tests of the server. It reports changes as JSON lines on stdout, and reads commands as
// JSON lines from stdin: {"set": [key, value]}, {"delete": key}, {"user": state}. It exits when stdin ends.
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

const [url, room, token, maxFrameBytes] = process.argv.slice(2);
class LimitedSocket extends WebSocket {
  constructor(address, protocols) {
    super(address, protocols, maxFrameBytes ? { maxPayload: Number(maxFrameBytes) } : {});
  }
}
const ydoc = new Y.Doc();
const state = ydoc.getMap("state");
const provider = new WebsocketProvider(url, room, ydoc, {
  params: token ? { token } : {},
  WebSocketPolyfill: LimitedSocket,
  disableBc: true,
});
const report = (change) => console.log(JSON.stringify(change));

const users = () => [...provider.awareness.getStates().values()].map((one) => one.user).filter(Boolean);

provider.on("status", ({ status }) => report({ status }));
provider.on("sync", (synced) => report({ synced }));
provider.on("connection-close", (event) => report({ dropped: event?.code ?? null }));
provider.on("closed", ({ code }) => report({ closed: code }));
state.observe(() => report({ state: state.toJSON() }));
provider.awareness.on("change", () => report({ users: users().sort() }));

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
