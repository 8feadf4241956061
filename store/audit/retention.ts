import { durationSeconds } from '../../api/duration.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Repository } from '../persist/repository.ts';
import type { Audit } from './audit.ts';

const EVERY_MS = 3_600_000;

/** Prunes what is older than the retention of audit.yaml, once an hour, by one process of all. */
export class AuditRetention {
  readonly #audit: Audit;
  readonly #clock: Clock;
  readonly #repository: Repository;
  readonly #seconds: number | undefined;
  #nextMs: number;

  constructor(options: { audit: Audit; clock: Clock; repository: Repository; retention: string | undefined }) {
    this.#audit = options.audit;
    this.#clock = options.clock;
    this.#repository = options.repository;
    this.#seconds = options.retention === undefined ? undefined : durationSeconds(options.retention);
    this.#nextMs = options.clock.monotonicMs();
  }

  async tick(): Promise<void> {
    if (this.#seconds === undefined || this.#clock.monotonicMs() < this.#nextMs) return;
    this.#nextMs = this.#clock.monotonicMs() + EVERY_MS;
    if (await this.#repository.holdWork('audit retention', EVERY_MS / 1000))
      await this.#audit.prune(new Date(this.#clock.nowMs() - this.#seconds * 1000).toISOString(), 'retention');
  }
}
