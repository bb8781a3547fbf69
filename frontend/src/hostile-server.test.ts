/** A tab whose room server is hostile at first, and honest after its connections were closed. */
import { createDecoder, readVarUint } from "lib0/decoding";
import * as encoding from "lib0/encoding";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket as NodeSocket, WebSocketServer } from "ws";
import { readSyncMessage, writeSyncStep1 } from "y-protocols/sync";
import * as Y from "yjs";

import { Replica } from "./document/replica";
import { MAX_RECEIVED_BYTES } from "./transport/protocol";
import { RoomSocket } from "./transport/room-socket";

const PAGE = { protocol: "http:", hostname: "127.0.0.1", host: "127.0.0.1:8501" };
const REPLICA_ID = 77;
/** Requests of a server that reads no answer, each of which is a fifth of a megabyte. */
const REQUESTS = 5000;
const undo: (() => void)[] = [];

type Attack = (socket: NodeSocket) => void;

afterEach(() => {
  for (const step of undo.splice(0).reverse()) {
    step();
  }
  vi.restoreAllMocks();
});

function ignore(): void {
  // The test observes no such event.
}

function message(...numbers: number[]): Uint8Array {
  return encoding.encode((encoder) => {
    for (const number of numbers) {
      encoding.writeVarUint(encoder, number);
    }
  });
}

function syncMessage(type: number, content: Uint8Array): Uint8Array {
  return encoding.encode((encoder) => {
    encoding.writeVarUint(encoder, 0);
    encoding.writeVarUint(encoder, type);
    encoding.writeVarUint8Array(encoder, content);
  });
}

/** An update with one value, whose predecessors are missing unless `clock` is 0. */
function pendingUpdate(clock: number, byteCount: number): Uint8Array {
  return encoding.encode((encoder) => {
    for (const number of [1, 1, REPLICA_ID, clock]) {
      encoding.writeVarUint(encoder, number);
    }
    for (const number of [4, 1]) {
      encoding.writeUint8(encoder, number);
    }
    encoding.writeVarString(encoder, "t");
    encoding.writeVarString(encoder, "x".repeat(byteCount));
    encoding.writeVarUint(encoder, 0);
  });
}

/** Send `next()` until the tab closes the connection. */
function sendWithoutEnd(socket: NodeSocket, next: () => Uint8Array): void {
  const send = (): void => {
    if (socket.readyState === NodeSocket.OPEN) {
      socket.send(next(), () => setImmediate(send));
    }
  };
  send();
}

const EMPTY_VECTOR = new Uint8Array([0]);

/** Attacks after which the test closes the connection. */
const ATTACKS: Record<string, Attack> = {
  "empty messages": (socket) => {
    socket.send(new Uint8Array(0));
  },
  "messages of every type": (socket) => {
    for (let type = 0; type < 256; type++) {
      for (const rest of [[], [0], [1, 255], [2, 3, 1, 1, 1], [9, 9, 9]]) {
        socket.send(new Uint8Array([type, ...rest]));
      }
    }
  },
  "malformed updates": (socket) => {
    for (const type of [0, 1, 2, 3]) {
      socket.send(syncMessage(type, new Uint8Array(100).fill(255)));
      socket.send(syncMessage(type, pendingUpdate(0, 50).subarray(0, 20)));
    }
  },
  "numbers larger than the message": (socket) => {
    for (const type of [1, 2]) {
      socket.send(syncMessage(type, message(2 ** 31)));
      socket.send(syncMessage(type, message(1, 2 ** 40, 5, 0)));
      socket.send(syncMessage(type, message(0, 1, 5, 2 ** 40)));
    }
  },
  "state vectors of the future": (socket) => {
    socket.send(syncMessage(0, message(1, 2 ** 53 - 1, 2 ** 53 - 1)));
    socket.send(syncMessage(0, message(2 ** 40)));
  },
  "answers to what was not asked": (socket) => {
    for (const version of [0, 1, 2 ** 53 - 1]) {
      socket.send(
        encoding.encode((encoder) => {
          encoding.writeVarUint(encoder, 102);
          encoding.writeVarUint8Array(encoder, message(version, 2, 0, 1, 97));
        }),
      );
    }
  },
  "a last fragment without a first": (socket) => {
    socket.send(message(105, 2));
    socket.send(message(105, 2, 105, 2, 105, 2));
    socket.send(message(105, 1, 0, 2));
  },
  "no room for a fragment": (socket) => {
    for (const limit of [0, 1, 2]) {
      socket.send(message(105, 0, limit));
    }
    socket.send(syncMessage(0, EMPTY_VECTOR));
  },
  "one byte after the other": (socket) => {
    const { _socket } = socket as unknown as { _socket: { write(bytes: Uint8Array): void } };
    for (const byte of [0x82, 100, ...new Uint8Array(100)]) {
      _socket.write(new Uint8Array([byte]));
    }
  },
  "presences without end": (socket) => {
    for (let id = 0; id < 1000; id++) {
      socket.send(
        encoding.encode((encoder) => {
          encoding.writeVarUint(encoder, 1);
          encoding.writeVarUint8Array(
            encoder,
            encoding.encode((content) => {
              for (const number of [1, id, 1]) {
                encoding.writeVarUint(content, number);
              }
              encoding.writeVarString(content, '{"a":1}');
            }),
          );
        }),
      );
    }
  },
};

/** Attacks at which the tab itself closes the connection. */
const ENDLESS_ATTACKS: Record<string, Attack> = {
  "a text that is a number": (socket) => {
    socket.send("4000000000");
  },
  "updates that never complete": (socket) => {
    let clock = 1;
    sendWithoutEnd(socket, () => syncMessage(2, pendingUpdate((clock += 200_001), 200_000)));
  },
  "fragments without end": (socket) => {
    const part = new Uint8Array(MAX_RECEIVED_BYTES / 4);
    part.set([105, 1]);
    sendWithoutEnd(socket, () => part);
  },
  "requests without reading": (socket) => {
    socket.pause();
    let left = REQUESTS;
    sendWithoutEnd(socket, () => {
      left -= 1;
      if (left === 0) {
        socket.terminate(); // it would never read the end of the connection
      }
      return syncMessage(0, EMPTY_VECTOR);
    });
  },
};

/** Open a tab with an edit of its session at a server that attacks the first connection. */
async function openAttackedTab(attack: Attack, text: string) {
  vi.spyOn(console, "error").mockImplementation(ignore);
  vi.spyOn(console, "warn").mockImplementation(ignore);
  const honest = new Y.Doc();
  const state = { connections: 0, messages: 0 };
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await new Promise((resolve) => server.once("listening", resolve));
  const attacked: NodeSocket[] = [];
  server.on("connection", (socket) => {
    state.connections += 1;
    if (state.connections === 1) {
      attacked.push(socket);
      socket.on("message", () => (state.messages += 1));
      attack(socket);
      return;
    }
    const reply = (write: (encoder: encoding.Encoder) => void): void => {
      const encoder = encoding.createEncoder();
      encoding.writeVarUint(encoder, 0);
      write(encoder);
      if (encoding.length(encoder) > 1) {
        socket.send(encoding.toUint8Array(encoder));
      }
    };
    reply((encoder) => {
      writeSyncStep1(encoder, honest);
    });
    socket.on("message", (data: Buffer) => {
      const decoder = createDecoder(new Uint8Array(data));
      if (readVarUint(decoder) === 0) {
        reply((encoder) => readSyncMessage(decoder, encoder, honest, socket));
      }
    });
  });
  const replica = new Replica();
  const session = new Y.Doc();
  session.getMap("state").set("mine", text);
  replica.applyFromChannel(Y.encodeStateAsUpdate(session));
  const socket = new RoomSocket(
    replica,
    {
      onOpen: ignore,
      onClose: ignore,
      onSaved: ignore,
      onEpochEnded: ignore,
      onRewritten: ignore,
      onRoomFull: ignore,
    },
    { onStatus: ignore, onSocketError: ignore, onSyncing: ignore, onDenied: ignore },
    PAGE,
    NodeSocket as unknown as typeof WebSocket,
  );
  undo.push(() => {
    socket.destroy();
    replica.destroy();
    for (const each of server.clients) {
      each.terminate();
    }
    server.close();
  });
  const { port } = server.address() as { port: number };
  socket.connectTo({ kind: "port", port, path: "/r" });
  return { honest, replica, state, attacked };
}

describe("a tab at a hostile server", () => {
  it.each(Object.entries(ATTACKS))(
    "N2: survives %s, and its edits reach the next server",
    async (_, attack) => {
      const { honest, replica, state, attacked } = await openAttackedTab(attack, "edit".repeat(1000));
      await expect.poll(() => state.messages).toBeGreaterThan(0);
      await new Promise((resolve) => {
        attacked[0]?.once("pong", resolve);
        attacked[0]?.ping();
      });
      expect(replica.doc.getMap("state").get("mine")).toBe("edit".repeat(1000));
      attacked[0]?.close(1012);
      await expect
        .poll(() => honest.getMap("state").get("mine"), { timeout: 20_000 })
        .toBe("edit".repeat(1000));
    },
  );

  it.each(Object.entries(ENDLESS_ATTACKS))(
    "N3: closes at %s, and its edits reach the next server",
    { timeout: 60_000 },
    async (_, attack) => {
      const { rss } = process.memoryUsage();
      const { honest, replica } = await openAttackedTab(attack, "edit".repeat(50_000));
      await expect
        .poll(() => honest.getMap("state").get("mine"), { timeout: 50_000 })
        .toBe("edit".repeat(50_000));
      expect(replica.dropPending(0)).toBe(false);
      expect(process.memoryUsage().rss - rss).toBeLessThan(600_000_000);
    },
  );

  it("N3: sends no part of an update in messages of a few bytes", async () => {
    const { state, attacked } = await openAttackedTab(
      ATTACKS["no room for a fragment"] ?? ignore,
      "x".repeat(100_000),
    );
    await expect.poll(() => state.messages).toBeGreaterThan(2);
    await new Promise((resolve) => {
      attacked[0]?.once("pong", resolve);
      attacked[0]?.ping();
    });
    expect(state.messages).toBeLessThan(10);
  });
});
