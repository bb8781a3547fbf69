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
import type { SocketPlace } from "./frame";
import { isMixedContent, RoomSocket, socketUrl } from "./room-socket";
import type { Access } from "./room-socket";

const PAGE = { protocol: "http:", hostname: "app.example", host: "app.example:8501" };
const SECURE_PAGE = { protocol: "https:", hostname: "app.example", host: "app.example" };

describe("a socket's address", () => {
  it.each<[SocketPlace, typeof PAGE, string]>([
    [{ kind: "url", url: "wss://rooms.example/r" }, PAGE, "wss://rooms.example/r"],
    [{ kind: "port", port: 8765, path: "/r" }, PAGE, "ws://app.example:8765/r"],
    [{ kind: "port", port: 8765, path: "/r" }, { ...PAGE, hostname: "[::1]" }, "ws://[::1]:8765/r"],
    [{ kind: "path", path: "/crdt/r" }, PAGE, "ws://app.example:8501/crdt/r"],
    [{ kind: "path", path: "/crdt/r" }, SECURE_PAGE, "wss://app.example/crdt/r"],
  ])("%j seen from %j is %s", (place, page, url) => {
    expect(socketUrl(place, page)).toBe(url);
  });

  it.each([
    ["ws://app.example:8765/r", SECURE_PAGE, true],
    ["wss://app.example:8765/r", SECURE_PAGE, false],
    ["ws://app.example:8765/r", PAGE, false],
    ["ws://localhost:8765/r", SECURE_PAGE, false],
    ["ws://127.0.0.1:8765/r", SECURE_PAGE, false],
    ["ws://[::1]:8765/r", SECURE_PAGE, false],
    ["ws://127.evil.example/r", SECURE_PAGE, true],
  ])("%s from %j: mixed content is %s", (url, page, isMixed) => {
    expect(isMixedContent(url, page)).toBe(isMixed);
  });
});

/** A room on a real port that speaks as much y-websocket as a tab needs. */
class Room {
  readonly doc = new Y.Doc();
  readonly paths: string[] = [];
  /** Subprotocols that each attempt to connect offered. */
  readonly offered: (string | undefined)[] = [];
  /** Type of each message, and after a sync message's its second number. */
  readonly messages: string[] = [];
  /** What came in messages 102 and 104. */
  readonly questions: number[] = [];
  readonly tokens: string[] = [];
  isClosedToAll = false;
  private readonly server = new WebSocketServer({
    port: 0,
    host: "127.0.0.1",
    verifyClient: ({ req }: { req: IncomingMessage }) => {
      this.offered.push(req.headers["sec-websocket-protocol"]);
      return !this.isClosedToAll;
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
        if (origin !== socket) {
          this.tell(socket, (encoder) => {
            writeUpdate(encoder, update);
          });
        }
      });
      this.tell(socket, (encoder) => {
        writeSyncStep1(encoder, this.doc);
      });
      socket.on("message", (message: Buffer) => {
        const decoder = createDecoder(new Uint8Array(message));
        const type = readVarUint(decoder);
        this.messages.push(type === 0 ? `0 ${message[1]}` : `${type}`);
        if (type === 102) {
          this.questions.push(readVarUint(createDecoder(readVarUint8Array(decoder))));
        } else if (type === 104) {
          this.tokens.push(readVarString(decoder));
        } else if (type === 0) {
          this.tell(socket, (encoder) => {
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
  say(message: Uint8Array): void {
    for (const socket of this.server.clients) {
      socket.send(message);
    }
  }

  closeAll(code: number): void {
    for (const socket of this.server.clients) {
      socket.close(code);
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

  private tell(socket: NodeSocket, write: (encoder: ReturnType<typeof createEncoder>) => void): void {
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

function openSocket(page = { ...PAGE, hostname: "127.0.0.1" }) {
  const replica = new Replica();
  const events: string[] = [];
  const news: string[] = [];
  const socket = new RoomSocket(
    replica,
    {
      onStatus: (status, synced) => events.push(synced ? `${status}, synced` : status),
      onError: (error) => events.push(error),
      onOpen: (ask) => {
        queueMicrotask(() => {
          ask(7);
        });
      },
      onClose: (wasRefused) => news.push(wasRefused ? "refused" : "closed"),
      onSaved: (answer) => news.push(JSON.stringify(answer)),
      onDenied: () => news.push("denied"),
      onEnded: () => news.push("ended"),
      onFull: () => news.push("full"),
    },
    page,
    NodeSocket as unknown as typeof WebSocket,
  );
  undo.push(() => {
    socket.destroy();
    replica.destroy();
  });
  return { replica, socket, events, news };
}

describe("RoomSocket", () => {
  it("brings the room's document to the tab and the tab's to the room", async () => {
    const room = await openRoom();
    room.doc.getMap("state").set("a", 1);
    const { replica, socket, events } = openSocket();
    const session = new Y.Doc();
    session.getMap("state").set("b", 2);
    replica.applyFromChannel(Y.encodeStateAsUpdate(session));
    socket.aim({ kind: "port", port: room.port, path: "/plans" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(replica.doc.getMap("state").toJSON()).toEqual({ a: 1, b: 2 });
    await expect.poll(() => room.doc.getMap("state").toJSON()).toEqual({ a: 1, b: 2 });
    expect(room.paths).toEqual(["/plans"]);
    expect(events).toEqual(["connecting", "connected", "connected, synced"]);
  });

  it("aimed at the same place again it stays as it is, aimed elsewhere it reconnects", async () => {
    const [one, other] = [await openRoom(), await openRoom()];
    const { socket, events } = openSocket();
    socket.aim({ kind: "port", port: one.port, path: "/r" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    socket.aim({ kind: "url", url: `ws://127.0.0.1:${one.port}/r` });
    expect(one.paths).toHaveLength(1);
    socket.aim({ kind: "port", port: other.port, path: "/r" });
    await expect.poll(() => other.paths).toEqual(["/r"]);
    socket.aim(null);
    expect(events.at(-1)).toBe("offline");
  });

  it("a dropped connection is offline until it is back, without a word for each attempt", async () => {
    const room = await openRoom();
    const { socket, events } = openSocket();
    socket.aim({ kind: "port", port: room.port, path: "/r" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    events.length = 0;
    room.dropAll();
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(new Set(events)).toEqual(new Set(["offline, synced", "connected, synced"]));
  });

  it("R6: passes on what a socket's update unlocked, for the room has only a part of it", async () => {
    const room = await openRoom();
    const { replica, socket, events } = openSocket();
    socket.aim({ kind: "port", port: room.port, path: "/r" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    const author = new Y.Doc();
    const updates: Uint8Array[] = [];
    author.on("update", (update: Uint8Array) => updates.push(update));
    author.getMap("state").set("a", 1);
    author.getMap("state").set("a", 2);
    const [first, second] = updates;
    replica.applyFromChannel(second ?? expect.fail("two updates were made"));
    Y.applyUpdate(room.doc, first ?? expect.fail("two updates were made"));
    await expect.poll(() => room.doc.getMap("state").get("a")).toBe(2);
  });

  it("a close code from 4400 to 4499 ends it and is told as refused", async () => {
    const room = await openRoom(4403);
    const { socket, events } = openSocket();
    socket.aim({ kind: "port", port: room.port, path: "/r" });
    await expect.poll(() => events).toContain("refused");
    expect(events.at(-2)).toBe("offline");
    expect(room.paths).toHaveLength(1);
  });

  it("does not even try a plain socket from an https page", () => {
    const { socket, events } = openSocket(SECURE_PAGE);
    socket.aim({ kind: "port", port: 8765, path: "/r" });
    expect(events).toEqual(["offline", "mixed-content"]);
  });
});

const EPOCH = "0123456789abcdef0123456789abcdef";

async function openOurs(access: Partial<Access> = {}) {
  const room = await openRoom();
  const opened = openSocket();
  opened.socket.admit({ token: "a.b.c", epoch: EPOCH, role: "editor", ...access });
  opened.socket.aim({ kind: "port", port: room.port, path: "/r" });
  await expect.poll(() => opened.events.at(-1)).toBe("connected, synced");
  return { room, ...opened };
}

const DENIAL = encode((encoder) => {
  writeVarUint(encoder, 2);
  writeVarUint(encoder, 0);
  writeVarString(encoder, "viewers do not write");
});

describe("RoomSocket and a server of ours", () => {
  it("A2: brings its token as a subprotocol and the epoch it knows as a parameter", async () => {
    const { room } = await openOurs();
    expect(room.offered).toEqual(["streamlit-crdt,token.a.b.c"]);
    expect(room.paths).toEqual([`/r?epoch=${EPOCH}`]);
  });

  it("offers nothing where there is no token, because a stock server would not answer to it", async () => {
    const { room } = await openOurs({ token: null, epoch: null });
    expect(room.offered).toEqual([undefined]);
    expect(room.paths).toEqual(["/r"]);
  });

  it("S5: asks what is saved behind the answer to what the server lacks, never before it", async () => {
    const { room, replica, news } = await openOurs();
    await expect.poll(() => room.questions).toEqual([7]);
    const answerAt = room.messages.indexOf("0 1");
    expect(answerAt).toBeGreaterThan(-1);
    expect(room.messages.indexOf("102")).toBeGreaterThan(answerAt);
    room.say(answerBytes(7, 2, 0));
    await expect
      .poll(() => news)
      .toEqual([JSON.stringify({ version: 7, level: 2, outcome: "saved", epoch: EPOCH })]);
    expect(replica.doc.getMap("state").size).toBe(0);
  });

  it("N2: a malformed answer is nothing", async () => {
    const { room, news, socket, events } = await openOurs();
    room.say(new Uint8Array([102, 200, 1]));
    room.say(new Uint8Array([102]));
    room.say(answerBytes(1, 1, 1));
    await expect.poll(() => news).toHaveLength(1);
    expect(events.at(-1)).toBe("connected, synced");
    socket.destroy();
  });

  it("A2: sends a new token over the open socket, and brings it along from then on", async () => {
    const { room, socket, events } = await openOurs();
    socket.admit({ token: "d.e.f", epoch: EPOCH, role: "editor" });
    await expect.poll(() => room.tokens).toEqual(["d.e.f"]);
    events.length = 0;
    room.dropAll();
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(room.offered.at(-1)).toBe("streamlit-crdt,token.d.e.f");
  });

  it("A2: tells that it was not let in, and brings a new token to the next attempt", async () => {
    const room = await openRoom();
    room.isClosedToAll = true;
    const { socket, news, events } = openSocket();
    socket.admit({ token: "old", epoch: null, role: "editor" });
    socket.aim({ kind: "port", port: room.port, path: "/r" });
    await expect.poll(() => news[0]).toBe("refused");
    room.isClosedToAll = false;
    socket.admit({ token: "new", epoch: null, role: "editor" });
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(room.offered.at(-1)).toBe("streamlit-crdt,token.new");
    expect(room.tokens).toEqual([]);
  });

  it("A2: a token whose time is over closes the socket, which comes back", async () => {
    const { room, news, events } = await openOurs();
    events.length = 0;
    room.closeAll(4302);
    await expect.poll(() => news).toEqual(["refused"]);
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
  });

  it("A1: permission denied leaves the socket open; a new token is a new chance, on a new connection", async () => {
    const { room, socket, news, events } = await openOurs();
    room.say(DENIAL);
    await expect.poll(() => news).toEqual(["denied"]);
    expect(events.at(-1)).toBe("connected, synced");
    socket.admit({ token: "d.e.f", epoch: EPOCH, role: "editor" });
    await expect.poll(() => room.offered).toHaveLength(2);
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(room.tokens).toEqual([]);
  });

  it("A2: a viewer's new token goes over the open socket, denied or not", async () => {
    const { room, socket, news } = await openOurs({ role: "viewer" });
    room.say(DENIAL);
    await expect.poll(() => news).toEqual(["denied"]);
    socket.admit({ token: "d.e.f", epoch: EPOCH, role: "viewer" });
    await expect.poll(() => room.tokens).toEqual(["d.e.f"]);
    expect(room.offered).toHaveLength(1);
  });

  it("A1: an answer that says refused is a denial as well: a new token is a new chance", async () => {
    const { room, socket, news } = await openOurs();
    room.say(answerBytes(0, 2, 2));
    await expect.poll(() => news).toHaveLength(1);
    socket.admit({ token: "d.e.f", epoch: EPOCH, role: "editor" });
    await expect.poll(() => room.offered).toHaveLength(2);
    expect(room.tokens).toEqual([]);
  });

  it.each([
    ["viewer", "editor"],
    ["editor", "viewer"],
  ] as const)("A1: a %s who becomes %s comes anew", async (before, after) => {
    const { room, socket, events } = await openOurs({ role: before });
    socket.admit({ token: "a.b.c", epoch: null, role: after });
    socket.admit({ token: "d.e.f", epoch: EPOCH, role: after });
    await expect
      .poll(() => room.offered)
      .toEqual(["streamlit-crdt,token.a.b.c", "streamlit-crdt,token.d.e.f"]);
    await expect.poll(() => events.at(-1)).toBe("connected, synced");
    expect(room.tokens).toEqual([]);
  });

  it("a room that is full says so, and is tried no more", async () => {
    const { room, news, events } = await openOurs();
    room.closeAll(4414);
    await expect.poll(() => news).toEqual(["closed", "full"]);
    expect(events.slice(-2)).toEqual(["offline, synced", "refused"]);
    expect(room.offered).toHaveLength(1);
  });

  it("a room that was deleted is the end, and no refusal", async () => {
    const { room, socket, news, events } = await openOurs();
    room.closeAll(4409);
    await expect.poll(() => news).toEqual(["closed", "ended"]);
    expect(events).not.toContain("refused");
    socket.end();
    socket.aim({ kind: "port", port: room.port, path: "/other" });
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
