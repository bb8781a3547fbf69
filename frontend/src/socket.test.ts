import { createDecoder, readVarUint } from "lib0/decoding";
import { createEncoder, length, toUint8Array, writeVarUint } from "lib0/encoding";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket as NodeSocket, WebSocketServer } from "ws";
import { readSyncMessage, writeSyncStep1, writeUpdate } from "y-protocols/sync";
import * as Y from "yjs";

import type { SocketPlace } from "./protocol";
import { Replica } from "./replica";
import { isMixedContent, RoomSocket, socketUrl } from "./socket";

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
  private readonly server = new WebSocketServer({ port: 0, host: "127.0.0.1" });

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
        if (readVarUint(decoder) === 0) {
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
  const socket = new RoomSocket(
    replica,
    {
      onStatus: (status, synced) => events.push(synced ? `${status}, synced` : status),
      onError: (error) => events.push(error),
    },
    page,
    NodeSocket as unknown as typeof WebSocket,
  );
  undo.push(() => {
    socket.destroy();
    replica.destroy();
  });
  return { replica, socket, events };
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
