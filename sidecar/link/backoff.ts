import { setTimeout as delay } from 'node:timers/promises';

/** Pauses that double from `firstMs` to `limitMs`, each between half and the whole, so that many that failed at once do not return at once. */
export class Backoff {
  readonly #firstMs: number;
  readonly #limitMs: number;
  #nextMs: number;

  constructor(options: { firstMs: number; limitMs: number }) {
    this.#firstMs = options.firstMs;
    this.#limitMs = options.limitMs;
    this.#nextMs = options.firstMs;
  }

  /** How long to wait this time. */
  nextMs(): number {
    const ms = this.#nextMs;
    this.#nextMs = Math.min(2 * ms, this.#limitMs);
    return ms * (0.5 + 0.5 * Math.random());
  }

  pause(): Promise<void> {
    return delay(this.nextMs());
  }

  /** It went well. */
  reset(): void {
    this.#nextMs = this.#firstMs;
  }
}
