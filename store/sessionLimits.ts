import type { Session } from '../api/session.ts';
import type { Clock } from '../lib/clock.ts';
import type { Settings } from './config.ts';
import { storeError } from './errors.ts';
import type { Change } from './persist/repository.ts';
import { RateLimit } from './rateLimit.ts';

export type LimitedWork = 'leases' | 'usage' | 'strictUsage';
type SessionWork = LimitedWork | 'streams';

/**
 * How much of the store's work one session may ask for, and all of a namespace together. A runaway session meets its own bound
 * first, and so leaves the others of its namespace theirs; a runaway namespace leaves the others theirs.
 */
export class SessionLimits {
  readonly #clock: Clock;
  readonly #settings: Settings;
  readonly #sessions = new Map<string, Record<SessionWork, RateLimit>>();
  readonly #namespaces = new Map<string, Record<LimitedWork | 'joins', RateLimit>>();

  constructor(options: { clock: Clock; settings: Settings }) {
    this.#clock = options.clock;
    this.#settings = options.settings;
  }

  /** @throws TooManyRequests */
  take(session: Session, work: LimitedWork): void {
    if (!this.#session(session.id)[work].take()) throw storeError('TooManyRequests');
    if (!this.#namespace(session.namespace)[work].take())
      throw storeError(
        'TooManyRequests',
        `The sessions of namespace ${session.namespace} ask for more than their share.`,
      );
  }

  /** What the store can open a second is shared by all sessions; this is what one may have of it. @throws TooManyRequests */
  takeStream(session: Session): void {
    if (!this.#session(session.id).streams.take())
      throw storeError('TooManyRequests', 'The session opens too many event streams or asks for too many snapshots.');
  }

  /** @throws Overloaded */
  takeJoin(namespace: string): void {
    if (!this.#namespace(namespace).joins.take())
      throw storeError(
        'Overloaded',
        `Too many sessions of namespace ${namespace} begin at once; retry with the same token.`,
      );
  }

  changed(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'session' && change.endReason !== undefined) this.#sessions.delete(change.session.id);
    }
  }

  #session(id: string): Record<SessionWork, RateLimit> {
    let limits = this.#sessions.get(id);
    if (limits === undefined) {
      const s = this.#settings;
      limits = {
        leases: this.#rate(s.leaseBurst, s.leasesPerSecond),
        usage: this.#rate(s.usageBurst, s.usagePerSecond),
        strictUsage: this.#rate(s.strictUsageBurst, s.strictUsagePerSecond),
        streams: this.#rate(s.sessionStreamBurst, s.sessionStreamsPerSecond),
      };
      this.#sessions.set(id, limits);
    }
    return limits;
  }

  #namespace(name: string): Record<LimitedWork | 'joins', RateLimit> {
    let limits = this.#namespaces.get(name);
    if (limits === undefined) {
      const s = this.#settings;
      limits = {
        leases: this.#rate(s.namespaceLeaseBurst, s.namespaceLeasesPerSecond),
        usage: this.#rate(s.namespaceUsageBurst, s.namespaceUsagePerSecond),
        strictUsage: this.#rate(s.namespaceStrictUsageBurst, s.namespaceStrictUsagePerSecond),
        joins: this.#rate(s.namespaceJoinBurst, s.namespaceJoinsPerSecond),
      };
      this.#namespaces.set(name, limits);
    }
    return limits;
  }

  #rate(burst: number, perSecond: number): RateLimit {
    return new RateLimit({ clock: this.#clock, burst, perSecond });
  }
}
