/** The code of what never became an answer of the store: no connection, cut short, too late, not to be understood. */
export const UNREACHABLE = 'Unreachable';

/** A request to the store that failed: with the store's own code (StoreError), or UNREACHABLE. */
export class StoreFailure extends Error {
  override readonly name = 'StoreFailure';
  readonly code: string;
  /** When the store asks to come back. */
  readonly retryAfterSeconds: number | undefined;

  constructor(code: string, message: string, options: ErrorOptions & { retryAfterSeconds?: number | undefined } = {}) {
    super(message, options);
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}
