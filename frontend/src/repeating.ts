import type { Clock } from "./clock";

/** Something done at an interval that may change or pause; asking for the interval it already has changes nothing. */
export class Repeating {
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
