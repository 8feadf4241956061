import type { Clock } from '../../lib/clock.ts';

const LIMIT = 512;
/** A resumed session skips the certificate, so none is older than this: one that expires or is replaced is soon noticed. */
const MAX_AGE_MS = 3_600_000;

/** TLS sessions to resume, the newest per `host:port`; only of connections whose certificate was verified. */
export class Sessions {
  readonly #clock: Clock;
  readonly #sessions = new Map<string, { session: Buffer; verifiedAtMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(key: string): { session: Buffer; verifiedAtMs: number } | undefined {
    const held = this.#sessions.get(key);
    if (held === undefined || this.#clock.monotonicMs() - held.verifiedAtMs < MAX_AGE_MS) return held;
    this.#sessions.delete(key);
    return undefined;
  }

  /** `verifiedAtMs`: when the certificate was last seen, which a resumption hands on. */
  put(key: string, session: Buffer, verifiedAtMs: number): void {
    this.#sessions.delete(key);
    if (this.#sessions.size >= LIMIT) this.#sessions.delete(this.#sessions.keys().next().value!);
    this.#sessions.set(key, { session, verifiedAtMs });
  }

  drop(key: string): void {
    this.#sessions.delete(key);
  }
}
