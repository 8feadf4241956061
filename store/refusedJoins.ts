import type { Clock } from '../lib/clock.ts';
import { storeError } from './errors.ts';
import { RateLimit } from './rateLimit.ts';

const BURST = 20;
const PER_SECOND = 1;
/** For so many addresses; those that were quiet longest are forgotten first. */
const ADDRESS_LIMIT = 10_000;
/** Everybody on the machine of the store: one of them must not keep the others out. */
const SHARED: ReadonlySet<string> = new Set(['127.0.0.1', '::1', '::ffff:127.0.0.1']);

/**
 * How often an address may show what nobody joins by, so that one that does so without end leaves the others what all together may begin.
 */
export class RefusedJoins {
  readonly #clock: Clock;
  readonly #addresses = new Map<string, RateLimit>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws TooManyRequests */
  check(address: string): void {
    if (this.#addresses.get(address)?.empty)
      throw storeError('TooManyRequests', 'Too many joins of this address were refused.');
  }

  refused(address: string): void {
    if (SHARED.has(address)) return;
    const limit =
      this.#addresses.get(address) ?? new RateLimit({ clock: this.#clock, burst: BURST, perSecond: PER_SECOND });
    limit.take();
    this.#addresses.delete(address);
    this.#addresses.set(address, limit);
    if (this.#addresses.size > ADDRESS_LIMIT) this.#addresses.delete(this.#addresses.keys().next().value!);
  }
}
