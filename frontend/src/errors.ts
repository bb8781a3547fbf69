/** Error of a frame that does not decode. `field` names the invalid part, so that a log line identifies the cause. */
export class FrameError extends Error {
  constructor(
    readonly field: string,
    readonly expected: string,
    options?: ErrorOptions,
  ) {
    super(`frame rejected: ${field} must be ${expected}`, options);
    this.name = "FrameError";
  }
}
