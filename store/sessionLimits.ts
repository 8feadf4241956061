import type { Session } from '../api/session.ts';
import type { Clock } from '../lib/clock.ts';
import type { Settings } from './config.ts';
import { storeError } from './errors.ts';
import type { Change } from './persist/repository.ts';
import { RateLimit } from './rateLimit.ts';

export type LimitedWork = 'leases' | 'usage' | 'strictUsage';

/** How much of the store's work one session may ask for, so that a runaway one leaves the others theirs. */
export class SessionLimits {
  readonly #clock: Clock;
  readonly #settings: Settings;
  readonly #limits = new Map<string, Record<LimitedWork, RateLimit>>();

  constructor(options: { clock: Clock; settings: Settings }) {
    this.#clock = options.clock;
    this.#settings = options.settings;
  }

  /** @throws TooManyRequests */
  take(session: Session, work: LimitedWork): void {
    let limits = this.#limits.get(session.id);
    if (limits === undefined) {
      const { leaseBurst, leasesPerSecond, usageBurst, usagePerSecond, strictUsageBurst, strictUsagePerSecond } =
        this.#settings;
      limits = {
        leases: new RateLimit({ clock: this.#clock, burst: leaseBurst, perSecond: leasesPerSecond }),
        usage: new RateLimit({ clock: this.#clock, burst: usageBurst, perSecond: usagePerSecond }),
        strictUsage: new RateLimit({ clock: this.#clock, burst: strictUsageBurst, perSecond: strictUsagePerSecond }),
      };
      this.#limits.set(session.id, limits);
    }
    if (!limits[work].take()) throw storeError('TooManyRequests');
  }

  changed(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'session' && change.endReason !== undefined) this.#limits.delete(change.session.id);
    }
  }
}
