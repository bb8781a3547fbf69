import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { browserClock } from "./clock";
import { Replica } from "./document/replica";
import { RoomStatus } from "./room-status";
import { sessionHeader } from "./testing";
import { narrowHeader } from "./transport/frame";
import { RoomSocket } from "./transport/room-socket";

const CLOSES_AFTER_MS = 5;
/** A run of the channel's fragment, by which a session answers. */
const ANSWERS_AFTER_MS = 30;
const EPOCH = "1".repeat(32);

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A tab whose session answers each question with a token of its own, and a server that lets nobody in. */
function setUp() {
  const offered: string[] = [];
  class RefusedSocket {
    onclose: ((event: { code: number }) => void) | null = null;
    constructor(_url: string, protocols: string[]) {
      offered.push(protocols.at(-1) ?? "");
      setTimeout(() => this.onclose?.({ code: 1006 }), CLOSES_AFTER_MS);
    }
    readonly close = nothing;
    readonly send = nothing;
  }
  const replica = new Replica();
  const asked: string[] = [];
  let minted = 0;
  const standing: RoomStatus = new RoomStatus({
    replica,
    clock: browserClock,
    page: { addEventListener: nothing, removeEventListener: nothing } as never,
    want: (why) => {
      asked.push(why);
      setTimeout(answer, ANSWERS_AFTER_MS);
    },
    onAccess: () => {
      socket.admit(standing);
    },
    onEnded: nothing,
  });
  const socket = new RoomSocket(
    replica,
    {
      ...standing.listener,
      onStatus: (status) => {
        standing.setStatus(status);
      },
      onDenied: nothing,
      onError: nothing,
    },
    { protocol: "http:", hostname: "localhost", host: "localhost:8501" },
    RefusedSocket as unknown as typeof WebSocket,
  );
  function answer(): void {
    minted += 1;
    const token = `token-${minted}`;
    const socketPlace = { port: 8765, path: "/r" };
    const header = narrowHeader(
      sessionHeader({ token, token_expires_in_s: 600, socket: socketPlace, poll_s: 1, epoch: EPOCH }),
    );
    standing.admits(header);
    standing.follow(header, 0);
    socket.aim(header.socket);
  }
  answer();
  return {
    offered,
    asked,
    close: () => {
      socket.destroy();
      standing.destroy();
      replica.destroy();
    },
  };
}

function nothing(): void {
  // Nobody listens.
}

describe("a server that lets nobody in, and a session that answers with a fresh token each time", () => {
  it("A2: is tried as seldom as one that is down, and costs one question", () => {
    const { offered, asked, close } = setUp();
    vi.advanceTimersByTime(3_000);
    expect(offered.length).toBeLessThanOrEqual(6);
    expect(asked).toEqual(["token"]);
    close();
  });

  it("A2: gets the fresh token at the next attempt", () => {
    const { offered, close } = setUp();
    vi.advanceTimersByTime(1_000);
    expect(offered.slice(0, 3)).toEqual(["token.token-1", "token.token-2", "token.token-2"]);
    close();
  });

  it("A2: is shown a token that is in date after hours, at one question for most of each one's life", () => {
    const { offered, asked, close } = setUp();
    vi.advanceTimersByTime(3_600_000);
    expect(asked.length).toBeGreaterThanOrEqual(7);
    expect(asked.length).toBeLessThanOrEqual(9);
    expect(offered.at(-1)).toBe(`token.token-${asked.length + 1}`);
    close();
  });
});
