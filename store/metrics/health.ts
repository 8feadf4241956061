import { setTimeout as delay } from 'node:timers/promises';
import type { Store } from '../core.ts';
import type { SealReason } from '../vault/sealed.ts';

/** How long the database may take to answer. */
const PROBE_MS = 2_000;
/** An export of the audit that is further behind is worth a look; requests are served all the same. */
const LAG_SECONDS = 60;

export interface HealthStatus {
  /** Whether requests are served. */
  ready: boolean;
  /** Why keys cannot be used. */
  sealed?: SealReason;
  /** What is not as it should be, in words. */
  degraded: string[];
  database: boolean;
  /** Whether this process does the work that falls due for all replicas. */
  leader: boolean;
}

/** Tells whether a store serves, and what is not well, from before it is open. */
export class Health {
  #sealed: SealReason | undefined;
  #store: Store | undefined;
  #probing: Promise<boolean> | undefined;
  #last: HealthStatus = { ready: false, degraded: ['the store starts'], database: false, leader: false };

  /** It cannot start yet. */
  sealedBy(reason: SealReason): void {
    this.#sealed = reason;
    this.#last = { ...this.#last, sealed: reason, degraded: ['sealed'] };
  }

  opened(store: Store): void {
    this.#sealed = undefined;
    this.#store = store;
  }

  get sealed(): SealReason | undefined {
    return this.#store === undefined ? this.#sealed : this.#store.vault.keyring.sealed;
  }

  /** As of the last look. */
  get last(): HealthStatus {
    return this.#last;
  }

  /** Asks the database. */
  async look(): Promise<HealthStatus> {
    const store = this.#store;
    if (store === undefined) return this.#last;
    const database = await this.#probe(store);
    const { sealed } = this;
    const degraded: string[] = [];
    if (sealed !== undefined) degraded.push('sealed');
    if (!database) degraded.push('the database does not answer');
    for (const { name, seconds } of store.auditExports.lag()) {
      if (seconds > LAG_SECONDS) degraded.push(`the export ${name} of the audit is ${Math.round(seconds)} s behind`);
    }
    this.#last = {
      ready: database && sealed === undefined,
      ...(sealed && { sealed }),
      degraded,
      database,
      leader: store.leader,
    };
    return this.#last;
  }

  /** One probe at a time, however many ask. */
  #probe({ repository }: Store): Promise<boolean> {
    this.#probing ??= Promise.race([
      repository
        .transaction((tx) => tx.meta.names('none'))
        .then(
          () => true,
          () => false,
        ),
      delay(PROBE_MS, false, { ref: false }),
    ]).finally(() => {
      this.#probing = undefined;
    });
    return this.#probing;
  }
}
