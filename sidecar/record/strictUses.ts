import type { UsageRecord, UsageReport } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { type Refusal, refuse } from '../errors.ts';
import { StoreFailure, UNREACHABLE } from '../link/storeFailure.ts';

/** As many as the store takes in one report (USAGE_RECORDS_LIMIT of protocolSchema.ts). */
const REPORT_LIMIT = 1_024;
const WAITING_LIMIT = 4_096;
/** A report that failed sooner than this is tried once more: a kept connection may just have been closed. */
const RETRY_WITHIN_MS = 1_000;

export type IntentCallback = (refusal: Refusal | undefined) => void;

interface Intent {
  record: UsageRecord;
  callback: IntentCallback;
}

interface StrictSink {
  /** Resolves once the report is durable. @throws StoreFailure */
  report(report: UsageReport): Promise<void>;
}

/**
 * Puts uses on record before they happen. One report is on its way at a time and takes along all that waits: under load many
 * requests share one round trip and one fsync of the store.
 */
export class StrictUses {
  readonly #clock: Clock;
  readonly #sink: StrictSink;
  readonly #log: Logger;
  #waiting: Intent[] = [];
  #sending = false;

  constructor(options: { clock: Clock; sink: StrictSink; log: Logger }) {
    this.#clock = options.clock;
    this.#sink = options.sink;
    this.#log = options.log;
  }

  /** Calls back with undefined once the record is durable, or with why the use must not happen. Returns how to call it off. */
  intend(record: UsageRecord, callback: IntentCallback): () => void {
    if (this.#waiting.length >= WAITING_LIMIT) {
      callback(refuse('Overloaded', `${WAITING_LIMIT} requests wait to be put on record already`, 1));
      return nothing;
    }
    const intent: Intent = { record, callback };
    this.#waiting.push(intent);
    if (!this.#sending) void this.#sendAll();
    return () => {
      intent.callback = nothing;
      const at = this.#waiting.indexOf(intent);
      if (at >= 0) this.#waiting.splice(at, 1);
    };
  }

  async #sendAll(): Promise<void> {
    this.#sending = true;
    // Lets all requests of this turn of the event loop into the report.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, REPORT_LIMIT);
      const refusal = await this.#send(batch.map(({ record }) => record));
      for (const { callback } of batch) this.#call(callback, refusal);
    }
    this.#sending = false;
  }

  async #send(records: UsageRecord[]): Promise<Refusal | undefined> {
    const report: UsageReport = { records, dropped: 0, strict: true };
    const startMs = this.#clock.monotonicMs();
    try {
      await this.#sink.report(report).catch((error: unknown) => {
        const unreachable = error instanceof StoreFailure && error.code === UNREACHABLE;
        if (!unreachable || this.#clock.monotonicMs() - startMs > RETRY_WITHIN_MS) throw error;
        // A record that is there twice says the same twice.
        return this.#sink.report(report);
      });
      return undefined;
    } catch (error) {
      this.#log.warn(
        { uses: records.length, error: errorText(error) },
        'uses could not be put on record, and were refused',
      );
      return refusalOf(error);
    }
  }

  /** One request's failure must not keep the others waiting. */
  #call(callback: IntentCallback, refusal: Refusal | undefined): void {
    try {
      callback(refusal);
    } catch (error) {
      this.#log.error({ error: errorText(error) }, 'a request failed once it was on record');
    }
  }
}

function refusalOf(error: unknown): Refusal {
  const failure = error instanceof StoreFailure ? error : undefined;
  const seconds = failure?.retryAfterSeconds ?? 1;
  if (failure?.code === 'TooManyRequests')
    return refuse('Overloaded', 'The store takes no more uses of this session on record now.', seconds);
  if (failure?.code === 'IdentityRevoked') return refuse('Revoked', 'The session is over.');
  return refuse(
    'StoreUnavailable',
    'Each use of the credential must be on record before it happens, and the store did not take it.',
    seconds,
  );
}

function nothing(): void {}
