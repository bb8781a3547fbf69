/** Test support: a clock that the test advances, seeded random numbers, a session header with defaults. */
import type { Clock } from "./clock";

/** Return a generator of integers below `limit` (mulberry32). The same seed yields the same integers. */
export function randomFrom(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

/** Return a session's header as parsed JSON, with `fields` over the defaults. */
export function sessionHeader(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: 11,
    v: 0,
    since: 0,
    ack_of: null,
    ack: 0,
    build: "b",
    room: "r",
    socket: null,
    poll_s: null,
    settle: false,
    confirm: null,
    own: [11],
    token: null,
    ...fields,
  };
}

interface Task {
  readonly at_ms: number;
  readonly run: () => void;
}

export class FakeClock implements Clock {
  now_ms = 0;
  private tasks: Task[] = [];

  after(delay_ms: number, run: () => void): () => void {
    const task = { at_ms: this.now_ms + delay_ms, run };
    this.tasks.push(task);
    return () => {
      this.tasks = this.tasks.filter((other) => other !== task);
    };
  }

  soon(run: () => void): void {
    this.after(0, run);
  }

  /** Number of scheduled tasks. */
  get pending(): number {
    return this.tasks.length;
  }

  /** Advance the time and run the tasks that become due, in order. */
  pass(ms: number): void {
    const end_ms = this.now_ms + ms;
    for (let due = this.next(end_ms); due !== undefined; due = this.next(end_ms)) {
      this.tasks = this.tasks.filter((task) => task !== due);
      this.now_ms = due.at_ms;
      due.run();
    }
    this.now_ms = end_ms;
  }

  private next(end_ms: number): Task | undefined {
    const due = this.tasks.filter((task) => task.at_ms <= end_ms);
    return due.sort((one, other) => one.at_ms - other.at_ms)[0];
  }
}
