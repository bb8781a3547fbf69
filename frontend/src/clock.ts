/** Time as the channel sees it, passed in so that tests hold the hands. */
export interface Clock {
  /** Milliseconds of a clock that goes on while the machine sleeps, unlike the delays below. */
  readonly now_ms: number;
  /** Run once after `delay_ms`, later in a background tab (about once a minute). The answer undoes it. */
  after(delay_ms: number, run: () => void): () => void;
  /** Run once when the current task is over, in a background tab too. */
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

/** Something done at an interval that may change or pause; asking for the interval it already has changes nothing. */
export class Interval {
  private interval_ms: number | null = null;
  private cancel: (() => void) | null = null;

  constructor(
    private readonly clock: Clock,
    private readonly run: () => void,
  ) {}

  get isRunning(): boolean {
    return this.interval_ms !== null;
  }

  every(interval_ms: number): void {
    if (interval_ms !== this.interval_ms) {
      this.stop();
      this.interval_ms = interval_ms;
      this.schedule(interval_ms);
    }
  }

  stop(): void {
    this.cancel?.();
    this.cancel = null;
    this.interval_ms = null;
  }

  private schedule(interval_ms: number): void {
    this.cancel = this.clock.after(interval_ms, () => {
      this.schedule(interval_ms);
      this.run();
    });
  }
}
