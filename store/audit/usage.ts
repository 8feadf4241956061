import type { UsageReport } from '../../api/protocol.ts';
import type { Session } from '../../api/session.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Audit } from './audit.ts';

/** Longest that a use is on its way to the store: what a sidecar says is older has a clock that is wrong. */
const DELAY_LIMIT_MS = 60_000;

/** Puts on record what sidecars tell of uses, with who the session is by the store's own record of it. */
export class UsageRecorder {
  readonly #clock: Clock;
  readonly #audit: Audit;

  constructor(options: { clock: Clock; audit: Audit }) {
    this.#clock = options.clock;
    this.#audit = options.audit;
  }

  /** Resolves once the report is durable. Times are brought within the minute before now, so that a skewed clock hides nothing. */
  async record(session: Session, report: UsageReport): Promise<void> {
    const nowMs = Math.round(this.#clock.nowMs());
    const { id, startedAt: _, ...who } = session;
    const records = report.records.map((record) => ({
      ...record,
      atMs: Math.min(nowMs, Math.max(nowMs - DELAY_LIMIT_MS, record.atMs)),
    }));
    const kind = report.strict ? 'usage.intended' : 'usage.reported';
    await this.#audit.record({ kind, session: id, ...who, records, dropped: report.dropped });
  }
}
