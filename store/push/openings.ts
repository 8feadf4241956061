import type { Clock } from '../../lib/clock.ts';
import type { CodedError } from '../../lib/errors.ts';
import { type StoreErrorCode, storeError } from '../errors.ts';
import { RateLimit } from '../rateLimit.ts';

/** How long those that were turned away count for how long the next are sent away. */
const MEMORY_MS = 5_000;
const LONGEST_SECONDS = 30;

/**
 * How many may begin something a second (streams, joins), so that a crowd that comes at once, as after a restart, leaves room for leases.
 * The others are told when to come back: spread over the time it takes to serve as many as were turned away lately.
 */
export class Openings {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #limit: RateLimit;
  #turnedAway = 0;
  #sinceMs = 0;

  constructor(options: { clock: Clock; perSecond: number }) {
    this.#clock = options.clock;
    this.#perSecond = options.perSecond;
    this.#limit = new RateLimit({ clock: options.clock, burst: options.perSecond, perSecond: options.perSecond });
  }

  /** @throws Overloaded with `retryAfterSeconds` */
  take(): void {
    if (this.#limit.take()) return;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#sinceMs > MEMORY_MS) {
      this.#turnedAway = 0;
      this.#sinceMs = nowMs;
    }
    this.#turnedAway += 1;
    const spread = Math.min(LONGEST_SECONDS, Math.ceil(this.#turnedAway / this.#perSecond));
    throw Object.assign(storeError('Overloaded') as CodedError<StoreErrorCode> & { retryAfterSeconds?: number }, {
      retryAfterSeconds: 1 + Math.floor(Math.random() * spread),
    });
  }
}
