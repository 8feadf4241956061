import type { CredentialRecord } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import type { MaterialHead } from '../persist/repository.ts';

/** How old versions are, by the clock that does not jump: the wall clock is asked once, for what an earlier process has written. */
export class MaterialAges {
  readonly #clock: Clock;
  readonly #born = new Map<string, { version: number; bornMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Monotonic milliseconds. */
  bornMs({ credential, version, writtenAtMs }: MaterialHead): number {
    const known = this.#born.get(credential);
    if (known?.version === version) return known.bornMs;
    const bornMs = this.#clock.monotonicMs() - Math.max(0, this.#clock.nowMs() - writtenAtMs);
    this.#born.set(credential, { version, bornMs });
    return bornMs;
  }

  /** How long the version may still be leased; infinite unless the Credential bounds its life, and not above 0 once that is over. */
  leftSeconds(head: MaterialHead, { maxLifetimeSeconds }: CredentialRecord): number {
    if (maxLifetimeSeconds === undefined) return Number.POSITIVE_INFINITY;
    return maxLifetimeSeconds - (this.#clock.monotonicMs() - this.bornMs(head)) / 1000;
  }

  forget(credential: string): void {
    this.#born.delete(credential);
  }
}
