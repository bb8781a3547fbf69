/** Injected time: a clock that tests can control, and the two timers built on it. */

export interface Clock {
  /** Milliseconds since the epoch. Advances while the machine sleeps; the delays below do not. */
  readonly now_ms: number;
  /** Run once after `delay_ms`. A background tab delays it by up to a minute. Returns the undo. */
  after(delay_ms: number, run: () => void): () => void;
  /** Run once after the current task, without delay in a background tab. */
  soon(run: () => void): void;
}

export const browserClock: Clock = {
  get now_ms() {
    return Date.now();
  },
  after(delay_ms, run) {
    const timer = setTimeout(run, delay_ms);
    return () => {
      clearTimeout(timer);
    };
  },
  soon: (run) => {
    queueMicrotask(run);
  },
};

/** One-shot timer. Starting it again replaces the delay that is running. */
export class Timer {
  private undo: (() => void) | null = null;

  constructor(private readonly clock: Clock) {}

  start(delay_ms: number, run: () => void): void {
    this.cancel();
    this.undo = this.clock.after(delay_ms, run);
  }

  cancel(): void {
    this.undo?.();
    this.undo = null;
  }
}

/** Repeated call at an interval that can change or stop. Setting the current interval again changes nothing. */
export class Interval {
  private interval_ms: number | null = null;
  private readonly timer: Timer;

  constructor(
    clock: Clock,
    private readonly run: () => void,
  ) {
    this.timer = new Timer(clock);
  }

  get isRunning(): boolean {
    return this.interval_ms !== null;
  }

  every(interval_ms: number): void {
    if (interval_ms !== this.interval_ms) {
      this.interval_ms = interval_ms;
      this.schedule(interval_ms);
    }
  }

  stop(): void {
    this.timer.cancel();
    this.interval_ms = null;
  }

  private schedule(interval_ms: number): void {
    this.timer.start(interval_ms, () => {
      this.schedule(interval_ms);
      this.run();
    });
  }
}
