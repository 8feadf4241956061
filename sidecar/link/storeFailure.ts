/** The code of what never became an answer of the store: no connection, cut short, too late, not to be understood. */
export const UNREACHABLE = 'Unreachable';

/** The code where the certificate of the store is not valid by the clock of this machine: one of both clocks is wrong. */
export const CLOCK_SKEW = 'ClockSkew';

interface StoreFailureOptions extends ErrorOptions {
  retryAfterSeconds?: number | undefined;
  status?: number;
}

/** A request to the store that failed: with the store's own code (StoreError), or UNREACHABLE. */
export class StoreFailure extends Error {
  override readonly name = 'StoreFailure';
  readonly code: string;
  /** When the store asks to come back. */
  readonly retryAfterSeconds: number | undefined;
  /** Of the answer; undefined where there was none. */
  readonly status: number | undefined;

  constructor(code: string, message: string, options: StoreFailureOptions = {}) {
    super(message, options);
    this.code = code;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.status = options.status;
  }

  /** Whether the store has judged the request, and will hardly judge otherwise in a moment. */
  get permanent(): boolean {
    const { status } = this;
    return status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429;
  }
}

const TIME_ERRORS: ReadonlySet<unknown> = new Set(['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']);

/** Why a connection to the store failed. The store backdates its certificates, so that clocks may differ by minutes; not by more. */
export function connectionFailure(error: Error): StoreFailure {
  if (!TIME_ERRORS.has((error as NodeJS.ErrnoException).code))
    return new StoreFailure(UNREACHABLE, error.message, { cause: error });
  const now = new Date().toISOString();
  const message = `the certificate of the store is not valid at ${now}, which is the time by the clock of this machine; set this clock or the one of the store (${error.message})`;
  return new StoreFailure(CLOCK_SKEW, message, { cause: error });
}
