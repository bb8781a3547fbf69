/** A frame that cannot be read. `field` names what was wrong, so that a log line is enough to find the cause. */
export class FrameError extends Error {
  constructor(
    readonly field: string,
    readonly expected: string,
    options?: ErrorOptions,
  ) {
    super(`frame refused: ${field} should be ${expected}`, options);
    this.name = "FrameError";
  }
}
