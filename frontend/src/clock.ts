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
