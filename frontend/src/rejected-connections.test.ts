import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { browserClock } from "./clock";
import { Replica } from "./document/replica";
import { RoomStatus } from "./room-status";
import { sessionHeader } from "./testing";
import { narrowHeader } from "./transport/frame";
import { RoomSocket } from "./transport/room-socket";

const CLOSES_AFTER_MS = 5;
/** Duration of the fragment rerun in which the session answers. */
const ANSWERS_AFTER_MS = 30;
const EPOCH = "1".repeat(32);

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** Connect a session that answers each request with a new token, and a server that rejects every connection. */
function setUp() {
  const offered: string[] = [];
  class RejectedSocket {
    onclose: ((event: { code: number }) => void) | null = null;
    constructor(_url: string, protocols: string[]) {
      offered.push(protocols.at(-1) ?? "");
      setTimeout(() => this.onclose?.({ code: 1006 }), CLOSES_AFTER_MS);
    }
    readonly close = nothing;
    readonly send = nothing;
  }
  const replica = new Replica();
  const requested: string[] = [];
  let tokenCount = 0;
  const page = { addEventListener: nothing, removeEventListener: nothing };
  const status = new RoomStatus(replica, browserClock, page, {
    requestFrame: (why) => {
      requested.push(why);
      setTimeout(answer, ANSWERS_AFTER_MS);
    },
    onAccessChange: (access) => {
      socket.setAccess(access);
    },
    onRoomDeleted: nothing,
    onRoomRewritten: nothing,
    onEditsLost: nothing,
  });
  const socket = new RoomSocket(
    replica,
    status,
    {
      onStatus: (value) => {
        status.setStatus(value);
      },
      onDenied: nothing,
      onSocketError: nothing,
      onSyncing: nothing,
    },
    { protocol: "http:", hostname: "localhost", host: "localhost:8501" },
    RejectedSocket as unknown as typeof WebSocket,
  );
  function answer(): void {
    tokenCount += 1;
    const token = `token-${tokenCount}`;
    const location = { port: 8765, path: "/r" };
    const header = narrowHeader(
      sessionHeader({ token, token_expires_in_s: 600, socket: location, poll_s: 1, epoch: EPOCH }),
    );
    status.accepts(header);
    status.update(header, 0);
    socket.connectTo(header.socket);
  }
  answer();
  return {
    offered,
    requested,
    close: () => {
      socket.destroy();
      status.destroy();
      replica.destroy();
    },
  };
}

function nothing(): void {
  // The test observes no such event.
}

describe("A2: a tab whose connections the server rejects", () => {
  it("A2: retries with the usual back-off, and requests one token", () => {
    const { offered, requested, close } = setUp();
    vi.advanceTimersByTime(3_000);
    expect(offered.length).toBeLessThanOrEqual(6);
    expect(requested).toEqual(["token"]);
    close();
  });

  it("A2: presents the new token at the next attempt", () => {
    const { offered, close } = setUp();
    vi.advanceTimersByTime(1_000);
    expect(offered.slice(0, 3)).toEqual(["token.token-1", "token.token-2", "token.token-2"]);
    close();
  });

  it("A2: has a valid token after hours, with one request per lifetime", () => {
    const { offered, requested, close } = setUp();
    vi.advanceTimersByTime(3_600_000);
    expect(requested.length).toBeGreaterThanOrEqual(7);
    expect(requested.length).toBeLessThanOrEqual(9);
    expect(offered.at(-1)).toBe(`token.token-${requested.length + 1}`);
    close();
  });
});
