import { setTimeout as delay } from 'node:timers/promises';

/** Nobody is sent away for longer. */
const RETRY_AFTER_LIMIT_SECONDS = 60;

/**
 * Pauses of any length up to a bound that doubles from `firstMs` to `limitMs`, so that many that failed at once come back spread over all of
 * it ("full jitter": Brooker, Exponential Backoff and Jitter, AWS 2015).
 */
export class Backoff {
  readonly #firstMs: number;
  readonly #limitMs: number;
  #nextMs: number;

  constructor(options: { firstMs: number; limitMs: number }) {
    this.#firstMs = options.firstMs;
    this.#limitMs = options.limitMs;
    this.#nextMs = options.firstMs;
  }

  /** How long to wait this time; what the other side asks for (Retry-After) is waited in any case, and the pause comes on top. */
  nextMs(retryAfterSeconds = 0): number {
    const ms = this.#nextMs;
    this.#nextMs = Math.min(2 * ms, this.#limitMs);
    return Math.min(retryAfterSeconds, RETRY_AFTER_LIMIT_SECONDS) * 1000 + ms * Math.random();
  }

  /** Ends early, without an error, when the signal is aborted. */
  async pause(retryAfterSeconds?: number, signal?: AbortSignal): Promise<void> {
    await delay(this.nextMs(retryAfterSeconds), undefined, { signal }).catch((error: Error) => {
      if (signal?.aborted !== true) throw error;
    });
  }

  /** It went well. */
  reset(): void {
    this.#nextMs = this.#firstMs;
  }
}
