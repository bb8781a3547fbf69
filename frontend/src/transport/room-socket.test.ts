import type { IncomingMessage } from "node:http";
import { createDecoder, readVarString, readVarUint, readVarUint8Array } from "lib0/decoding";
import {
  createEncoder,
  encode,
  length,
  toUint8Array,
  writeVarString,
  writeVarUint,
  writeVarUint8Array,
} from "lib0/encoding";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket as NodeSocket, WebSocketServer } from "ws";
import { readSyncMessage, writeSyncStep1, writeUpdate } from "y-protocols/sync";
import * as Y from "yjs";

import { Replica } from "../document/replica";
import { FakeClock } from "../testing";
import type { SocketLocation } from "./frame";
import { isMixedContent, RoomSocket, socketUrl } from "./room-socket";
import type { Access } from "./room-socket";

const PAGE = { protocol: "http:", hostname: "app.example", host: "app.example:8501" };
const SECURE_PAGE = { protocol: "https:", hostname: "app.example", host: "app.example" };

describe("a socket's URL", () => {
  it.each<[SocketLocation, typeof PAGE, string]>([
    [{ kind: "url", url: "wss://rooms.example/r" }, PAGE, "wss://rooms.example/r"],
    [{ kind: "port", port: 8765, path: "/r" }, PAGE, "ws://app.example:8765/r"],
    [{ kind: "port", port: 8765, path: "/r" }, { ...PAGE, hostname: "[::1]" }, "ws://[::1]:8765/r"],
    [{ kind: "path", path: "/crdt/r" }, PAGE, "ws://app.example:8501/crdt/r"],
    [{ kind: "path", path: "/crdt/r" }, SECURE_PAGE, "wss://app.example/crdt/r"],
  ])("%j in the page %j is %s", (location, page, url) => {
    expect(socketUrl(location, page)).toBe(url);
  });

  it.each([
    ["ws://app.example:8765/r", SECURE_PAGE, true],
    ["wss://app.example:8765/r", SECURE_PAGE, false],
    ["ws://app.example:8765/r", PAGE, false],
    ["ws://localhost:8765/r", SECURE_PAGE, false],
    ["ws://127.0.0.1:8765/r", SECURE_PAGE, false],
    ["ws://[::1]:8765/r", SECURE_PAGE, false],
    ["ws://127.evil.example/r", SECURE_PAGE, true],
  ])("%s in the page %j: mixed content is %s", (url, page, isMixed) => {
    expect(isMixedContent(url, page)).toBe(isMixed);
  });
});

/** Room on a real port with the part of the y-websocket protocol that a tab needs. */
class Room {
  readonly doc = new Y.Doc();
  readonly paths: string[] = [];
  /** Subprotocols of each attempt to connect. */
  readonly offered: (string | undefined)[] = [];
  /** Type of each message; of a sync message also its subtype. */
  readonly messages: string[] = [];
  /** Contents of the messages 102 and 104. */
  readonly queries: number[] = [];
  readonly tokens: string[] = [];
  rejectsAll = false;
  /** The tabs receive no changes of the document. */
  losesUpdates = false;
  private readonly server = new WebSocketServer({
    port: 0,
    host: "127.0.0.1",
    verifyClient: ({ req }: { req: IncomingMessage }) => {
      this.offered.push(req.headers["sec-websocket-protocol"]);
      return !this.rejectsAll;
    },
  });

  readonly listening = new Promise<void>((resolve) => {
    this.server.once("listening", resolve);
  });

  constructor(closeWith?: number) {
    this.server.on("connection", (socket, request) => {
      this.paths.push(request.url ?? "");
      if (closeWith !== undefined) {
        socket.close(closeWith);
        return;
      }
      this.doc.on("update", (update: Uint8Array, origin: unknown) => {
        if (origin !== socket && !this.losesUpdates) {
          this.send(socket, (encoder) => {
            writeUpdate(encoder, update);
          });
        }
      });
      this.send(socket, (encoder) => {
        writeSyncStep1(encoder, this.doc);
      });
      socket.on("message", (message: Buffer) => {
        const decoder = createDecoder(new Uint8Array(message));
        const type = readVarUint(decoder);
        this.messages.push(type === 0 ? `0 ${message[1]}` : `${type}`);
        if (type === 102) {
          this.queries.push(readVarUint(createDecoder(readVarUint8Array(decoder))));
        } else if (type === 104) {
          this.tokens.push(readVarString(decoder));
        } else if (type === 0) {
          this.send(socket, (encoder) => {
            readSyncMessage(decoder, encoder, this.doc, socket);
          });
        }
      });
    });
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  /** Send the same bytes to every tab. */
  broadcast(message: Uint8Array): void {
    for (const socket of this.server.clients) {
      socket.send(message);
    }
  }

  closeAll(code: number, reason?: string): void {
    for (const socket of this.server.clients) {
      socket.close(code, reason);
    }
  }

  dropAll(): void {
    for (const socket of this.server.clients) {
      socket.terminate();
    }
  }

  close(): void {
    this.dropAll();
    this.server.close();
  }

  private send(socket: NodeSocket, write: (encoder: ReturnType<typeof createEncoder>) => void): void {
    const encoder = createEncoder();
    writeVarUint(encoder, 0);
    write(encoder);
    if (length(encoder) > 1) {
      socket.send(toUint8Array(encoder));
    }
  }
}

const undo: (() => void)[] = [];

afterEach(() => {
  for (const step of undo.splice(0).reverse()) {
    step();
  }
});

async function openRoom(closeWith?: number): Promise<Room> {
  const room = new Room(closeWith);
  await room.listening;
  undo.push(() => {
    room.close();
  });
  return room;
}

function openSocket(page = { ...PAGE, hostname: "127.0.0.1" }, clock?: FakeClock) {
  const replica = new Replica();
  const events: string[] = [];
  const connectionEvents: string[] = [];
  const socket = new RoomSocket(
    replica,
    {
      onOpen: (sendQuery) => {
        queueMicrotask(() => {
          sendQuery(7);
        });
      },
      onClose: (wasRejected) => connectionEvents.push(wasRejected ? "rejected" : "closed"),
      onSaved: (answer) => connectionEvents.push(JSON.stringify(answer)),
      onEpochEnded: () => connectionEvents.push("epoch ended"),
      onRoomFull: () => connectionEvents.push("room full"),
      onRewritten: (kept) => connectionEvents.push(`rewritten with ${kept}`),
    },
    {
      onStatus: (status, isSynced) => events.push(isSynced ? `${status}, synced` : status),
      onSocketError: (error) => events.push(error),
      onSyncing: () => undefined,
      onDenied: () => connectionEvents.push("denied"),
    },
    page,
    NodeSocket as unknown as typeof WebSocket,
    clock,
  );
  undo.push(() => {
    socket.destroy();
    replica.destroy();
  });
  return { replica, socket, events, connectionEvents };
}

describe("RoomSocket", () => {
  it("syncs the documents of room and tab", async () => {
    const room = await openRoom();
    room.doc.getMap("state").set("a", 1);
    const { replica, socket, events } = openSocket();
    const session = new Y.Doc();
    session.getMap("state").set("b", 2);
    replica.applyFromChannel(Y.encodeStateAsUpdate(session));
    socket.connectTo({ kind: "port", port: room.port, path: "/plans" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(replica.doc.getMap("state").toJSON()).toEqual({ a: 1, b: 2 });
    await expect.poll(() => room.doc.getMap("state").toJSON()).toEqual({ a: 1, b: 2 });
    expect(room.paths).toEqual(["/plans?fragments=1"]);
    expect(events).toEqual(["connecting", "connected", "connected, synced"]);
  });

  it("keeps its connection for the same location only", async () => {
    const [one, other] = [await openRoom(), await openRoom()];
    const { socket, events } = openSocket();
    socket.connectTo({ kind: "port", port: one.port, path: "/r" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    socket.connectTo({ kind: "url", url: `ws://127.0.0.1:${one.port}/r` });
    expect(one.paths).toHaveLength(1);
    socket.connectTo({ kind: "port", port: other.port, path: "/r" });
    await expect.poll(() => other.paths).toEqual(["/r?fragments=1"]);
    socket.connectTo(null);
    expect(events.at(-1)).toBe("offline");
  });

  it("is offline once from a drop until it has reconnected", async () => {
    const room = await openRoom();
    const { socket, events } = openSocket();
    socket.connectTo({ kind: "port", port: room.port, path: "/r" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    events.length = 0;
    room.dropAll();
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(new Set(events)).toEqual(new Set(["offline, synced", "connected, synced"]));
  });

  it("R6: sends pending structs that an update from the socket completed", async () => {
    const room = await openRoom();
    const { replica, socket, events } = openSocket();
    socket.connectTo({ kind: "port", port: room.port, path: "/r" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    const author = new Y.Doc();
    const updates: Uint8Array[] = [];
    author.on("update", (update: Uint8Array) => updates.push(update));
    author.getMap("state").set("a", 1);
    author.getMap("state").set("a", 2);
    const [first, second] = updates;
    replica.applyFromChannel(second ?? expect.fail("the document made fewer than two updates"));
    Y.applyUpdate(room.doc, first ?? expect.fail("the document made fewer than two updates"));
    await expect.poll(() => room.doc.getMap("state").get("a")).toBe(2);
  });

  /** Connect a tab with a clock of its own. `syncStep1s` counts its requests. */
  async function connectWithClock() {
    const room = await openRoom();
    const clock = new FakeClock();
    const { replica, socket, events } = openSocket(undefined, clock);
    socket.connectTo({ kind: "port", port: room.port, path: "/r" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    const syncStep1s = (): number => room.messages.filter((message) => message === "0 0").length;
    await expect.poll(syncStep1s).toBe(1);
    return { room, clock, replica, socket, syncStep1s };
  }

  it("S6: requests what an update from the socket depends on", async () => {
    const { room, clock, replica, syncStep1s } = await connectWithClock();
    room.losesUpdates = true;
    room.doc.getMap("state").set("a", 1);
    room.losesUpdates = false;
    room.doc.getMap("state").set("b", 2);
    await expect.poll(() => replica.gap).not.toBeNull();
    clock.pass(1_000);
    await expect.poll(() => replica.doc.getMap("state").toJSON()).toEqual({ a: 1, b: 2 });
    expect(replica.gap).toBeNull();
    clock.pass(60_000);
    room.doc.getMap("state").set("b", 3);
    await expect.poll(() => replica.doc.getMap("state").get("b")).toBe(3);
    expect(syncStep1s()).toBe(2);
  });

  it("S6: requests what a deletion from the session depends on", async () => {
    const { room, clock, replica } = await connectWithClock();
    const items = room.doc.getArray<number>("list:items");
    room.losesUpdates = true;
    items.insert(0, [1, 2]);
    const vector = Y.encodeStateVector(room.doc);
    items.delete(0);
    replica.applyFromChannel(Y.encodeStateAsUpdate(room.doc, vector));
    expect(replica.gap).not.toBeNull();
    clock.pass(1_000);
    await expect.poll(() => replica.doc.getArray<number>("list:items").toArray()).toEqual([2]);
    expect(replica.gap).toBeNull();
  });

  it("N3: requests what no peer has ever more rarely, and only while it is connected", async () => {
    const { room, clock, replica, socket, syncStep1s } = await connectWithClock();
    const author = new Y.Doc();
    author.getMap("state").set("a", 1);
    const vector = Y.encodeStateVector(author);
    author.getMap("state").set("b", 2);
    replica.applyFromChannel(Y.encodeStateAsUpdate(author, vector));
    for (const [wait_ms, count] of [
      [999, 1],
      [1, 2],
      [1_999, 2],
      [1, 3],
      [3_999, 3],
      [1, 4],
    ] as const) {
      clock.pass(wait_ms);
      await expect.poll(syncStep1s).toBe(count);
    }
    room.dropAll();
    await expect.poll(syncStep1s).toBe(5); // of the next connection
    socket.destroy();
    expect(clock.pending).toBe(0);
  });

  it("stops and reports refused after a close code from 4400 to 4499", async () => {
    const room = await openRoom(4403);
    const { socket, events } = openSocket();
    socket.connectTo({ kind: "port", port: room.port, path: "/r" });
    await expect.poll(() => events).toContain("refused");
    expect(events.at(-2)).toBe("offline");
    expect(room.paths).toHaveLength(1);
  });

  it("opens no ws: socket from an https: page", () => {
    const { socket, events } = openSocket(SECURE_PAGE);
    socket.connectTo({ kind: "port", port: 8765, path: "/r" });
    expect(events).toEqual(["offline", "mixed-content"]);
  });
});

const EPOCH = "0123456789abcdef0123456789abcdef";

async function openWithAccess(access: Partial<Access> = {}) {
  const room = await openRoom();
  const opened = openSocket();
  opened.socket.setAccess({ token: "a.b.c", epoch: EPOCH, role: "editor", ...access });
  opened.socket.connectTo({ kind: "port", port: room.port, path: "/r" });
  await expect.poll(() => opened.events.at(-1)).toBe("connected, synced");
  return { room, ...opened };
}

const DENIAL = encode((encoder) => {
  writeVarUint(encoder, 2);
  writeVarUint(encoder, 0);
  writeVarString(encoder, "viewers have no write permission");
});

describe("RoomSocket with access", () => {
  it("A2: presents the token as subprotocol and the epoch as parameter", async () => {
    const { room } = await openWithAccess();
    expect(room.offered).toEqual(["streamlit-crdt,token.a.b.c"]);
    expect(room.paths).toEqual([`/r?fragments=1&epoch=${EPOCH}`]);
  });

  it("offers no subprotocol without a token, for stock servers", async () => {
    const { room } = await openWithAccess({ token: null, epoch: null });
    expect(room.offered).toEqual([undefined]);
    expect(room.paths).toEqual(["/r?fragments=1"]);
  });

  it("S5: sends the first saved query after its answer to sync step 1", async () => {
    const { room, replica, connectionEvents } = await openWithAccess();
    await expect.poll(() => room.queries).toEqual([7]);
    const step2At = room.messages.indexOf("0 1");
    expect(step2At).toBeGreaterThan(-1);
    expect(room.messages.indexOf("102")).toBeGreaterThan(step2At);
    room.broadcast(answerBytes(7, 2, 0));
    await expect
      .poll(() => connectionEvents)
      .toEqual([JSON.stringify({ version: 7, level: 2, status: "saved", epoch: EPOCH })]);
    expect(replica.doc.getMap("state").size).toBe(0);
  });

  it("N2: ignores a malformed saved answer", async () => {
    const { room, connectionEvents, socket, events } = await openWithAccess();
    room.broadcast(new Uint8Array([102, 200, 1]));
    room.broadcast(new Uint8Array([102]));
    room.broadcast(answerBytes(1, 1, 1));
    await expect.poll(() => connectionEvents).toHaveLength(1);
    expect(events.at(-1)).toBe("connected, synced");
    socket.destroy();
  });

  it("A2: sends a new token over the open socket, and at later connects", async () => {
    const { room, socket, events } = await openWithAccess();
    socket.setAccess({ token: "d.e.f", epoch: EPOCH, role: "editor" });
    await expect.poll(() => room.tokens).toEqual(["d.e.f"]);
    events.length = 0;
    room.dropAll();
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(room.offered.at(-1)).toBe("streamlit-crdt,token.d.e.f");
  });

  it("A2: reports a rejection, and presents a new token at the next try", async () => {
    const room = await openRoom();
    room.rejectsAll = true;
    const { socket, connectionEvents, events } = openSocket();
    socket.setAccess({ token: "old", epoch: null, role: "editor" });
    socket.connectTo({ kind: "port", port: room.port, path: "/r" });
    await expect.poll(() => connectionEvents[0]).toBe("rejected");
    room.rejectsAll = false;
    socket.setAccess({ token: "new", epoch: null, role: "editor" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(room.offered.at(-1)).toBe("streamlit-crdt,token.new");
    expect(room.tokens).toEqual([]);
  });

  it("A2: reconnects after the server closed it for an expired token", async () => {
    const { room, connectionEvents, events } = await openWithAccess();
    events.length = 0;
    room.closeAll(4302);
    await expect.poll(() => connectionEvents).toEqual(["rejected"]);
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
  });

  it("A1: stays open after a denial, and reconnects for a new token", async () => {
    const { room, socket, connectionEvents, events } = await openWithAccess();
    room.broadcast(DENIAL);
    await expect.poll(() => connectionEvents).toEqual(["denied"]);
    expect(events.at(-1)).toBe("connected, synced");
    socket.setAccess({ token: "d.e.f", epoch: EPOCH, role: "editor" });
    await expect.poll(() => room.offered).toHaveLength(2);
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(room.tokens).toEqual([]);
  });

  it("A2: sends a viewer's new token over the open socket after a denial", async () => {
    const { room, socket, connectionEvents } = await openWithAccess({ role: "viewer" });
    room.broadcast(DENIAL);
    await expect.poll(() => connectionEvents).toEqual(["denied"]);
    socket.setAccess({ token: "d.e.f", epoch: EPOCH, role: "viewer" });
    await expect.poll(() => room.tokens).toEqual(["d.e.f"]);
    expect(room.offered).toHaveLength(1);
  });

  it("A1: reconnects for a new token after a rejected saved answer", async () => {
    const { room, socket, connectionEvents } = await openWithAccess();
    room.broadcast(answerBytes(0, 2, 2));
    await expect.poll(() => connectionEvents).toHaveLength(1);
    socket.setAccess({ token: "d.e.f", epoch: EPOCH, role: "editor" });
    await expect.poll(() => room.offered).toHaveLength(2);
    expect(room.tokens).toEqual([]);
  });

  it.each([
    ["viewer", "editor"],
    ["editor", "viewer"],
  ] as const)("A1: reconnects when the role changes from %s to %s", async (before, after) => {
    const { room, socket, events } = await openWithAccess({ role: before });
    socket.setAccess({ token: "a.b.c", epoch: null, role: after });
    socket.setAccess({ token: "d.e.f", epoch: EPOCH, role: after });
    await expect
      .poll(() => room.offered)
      .toEqual(["streamlit-crdt,token.a.b.c", "streamlit-crdt,token.d.e.f"]);
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(room.tokens).toEqual([]);
  });

  it("reports a full room, and does not reconnect", async () => {
    const { room, connectionEvents, events } = await openWithAccess();
    room.closeAll(4414);
    await expect.poll(() => connectionEvents).toEqual(["closed", "room full"]);
    expect(events.slice(-2)).toEqual(["offline, synced", "refused"]);
    expect(room.offered).toHaveLength(1);
  });

  it("N4: states its session's replica id, and reports a rewrite with what the room has of it", async () => {
    const { room, replica, socket, connectionEvents } = await openWithAccess();
    replica.own = new Set([25]);
    socket.setAccess({ token: "d.e.f", epoch: EPOCH, role: "viewer" });
    await expect.poll(() => room.paths.at(-1)).toContain("replica=25");
    connectionEvents.length = 0;
    room.closeAll(4410, "the room was rewritten; it has 17 operations of this replica");
    await expect.poll(() => connectionEvents).toEqual(["closed", "rewritten with 17"]);
    expect(room.paths).toHaveLength(2);
  });

  it("reports an ended epoch, not an error, and does not reconnect", async () => {
    const { room, socket, connectionEvents, events } = await openWithAccess();
    room.closeAll(4409);
    await expect.poll(() => connectionEvents).toEqual(["closed", "epoch ended"]);
    expect(events).not.toContain("refused");
    socket.stop();
    socket.connectTo({ kind: "port", port: room.port, path: "/other" });
    expect(room.paths).toHaveLength(1);
    expect(events.at(-1)).toBe("offline, synced");
  });
});

function answerBytes(version: number, level: number, status: number): Uint8Array {
  return encode((encoder) => {
    writeVarUint(encoder, 102);
    writeVarUint8Array(
      encoder,
      encode((content) => {
        for (const number of [version, level, status]) {
          writeVarUint(content, number);
        }
        writeVarString(content, EPOCH);
      }),
    );
  });
}
