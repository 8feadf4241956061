import type { Clock } from '../lib/clock.ts';

/** A token bucket: `burst` at once, `perSecond` in the long run. */
export class RateLimit {
  readonly #clock: Clock;
  readonly #burst: number;
  readonly #perSecond: number;
  #tokens: number;
  #atMs: number;

  constructor(options: { clock: Clock; burst: number; perSecond: number }) {
    this.#clock = options.clock;
    this.#burst = options.burst;
    this.#perSecond = options.perSecond;
    this.#tokens = options.burst;
    this.#atMs = options.clock.monotonicMs();
  }

  /** Whether there is none to take now. */
  get empty(): boolean {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((nowMs - this.#atMs) / 1000) * this.#perSecond);
    this.#atMs = nowMs;
    return this.#tokens < 1;
  }

  /** Takes one if there is one. */
  take(): boolean {
    if (this.empty) return false;
    this.#tokens -= 1;
    return true;
  }
}
