import type { AuditEntry } from '../../../api/admin.ts';
import type { UsageRecord } from '../../../api/protocol.ts';
import { SOLE_AUDIT_CHAIN } from '../../../lib/auditChain.ts';
import type { Clock } from '../../../lib/clock.ts';
import { errorText } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import type { Change, Repository } from '../../persist/repository.ts';
import type { Audit } from '../audit.ts';
import type { AuditSink } from './sink.ts';

/** At most this much of the chain is in memory: the chain itself is the queue. */
const BATCH_ENTRIES = 256;
const BATCH_ROWS = 2_048;
/** How long the first entry waits for others to come along. */
const LINGER_MS = 100;
/** How often the place in the chain is saved at most: what a crash makes us forget is sent again. */
const SAVE_MS = 1_000;
const RETRY_FIRST_MS = 500;
const RETRY_MOST_MS = 30_000;

/** How far an export is behind. */
export interface ExportLag {
  name: string;
  /** Entries that the receiver does not have yet. */
  entries: number;
  /** Age of the oldest of them. */
  seconds: number;
  /** Entries delivered, and attempts that failed, since the start. */
  delivered: number;
  failures: number;
  /** Entries that were pruned before they were delivered, since the start. */
  skipped: number;
}

/**
 * Sends this process's chain to one receiver, in order, each entry at least once: the place that it has come to is in the database, saved
 * within a second of delivery. A receiver that is away is waited for, without end and without taking memory.
 */
export class AuditExporter {
  readonly #name: string;
  readonly #sink: AuditSink;
  readonly #audit: Audit;
  readonly #repository: Repository;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #cursor = 0;
  #savedSeq = 0;
  #savedAtMs = Number.NEGATIVE_INFINITY;
  #endSeq = 0;
  #oldestAtMs: number | undefined;
  #delivered = 0;
  #failures = 0;
  #skipped = 0;

  constructor(options: {
    name: string;
    sink: AuditSink;
    audit: Audit;
    repository: Repository;
    clock: Clock;
    log: Logger;
  }) {
    this.#name = options.name;
    this.#sink = options.sink;
    this.#audit = options.audit;
    this.#repository = options.repository;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  start(): void {
    this.#running ??= this.#run().catch((error: unknown) => {
      if (!this.#stop.signal.aborted)
        this.#log.error({ export: this.#name, error: errorText(error) }, 'an export of the audit has stopped');
    });
  }

  changed(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'audit' && (change.head.chain ?? SOLE_AUDIT_CHAIN) === this.#audit.chain)
        this.#endSeq = change.head.seq;
    }
  }

  lag(): ExportLag {
    const entries = Math.max(0, this.#endSeq - this.#cursor);
    const oldest = entries === 0 ? undefined : this.#oldestAtMs;
    return {
      name: this.#name,
      entries,
      seconds: oldest === undefined ? 0 : Math.max(0, (this.#clock.nowMs() - oldest) / 1000),
      delivered: this.#delivered,
      failures: this.#failures,
      skipped: this.#skipped,
    };
  }

  /** Gives up what is on its way, and saves how far it has come. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#sink.close();
    await this.#running;
    if (this.#cursor > this.#savedSeq) await this.#save();
  }

  get #cursorName(): string {
    return `audit export ${this.#name} ${this.#audit.chain}`;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const saved = await this.#repository.transaction((tx) => tx.meta.get(this.#cursorName));
    this.#cursor = Number(saved?.toString() ?? 0);
    this.#savedSeq = this.#cursor;
    this.#endSeq = Math.max(this.#endSeq, (await this.#audit.head())?.seq ?? 0);
    while (!signal.aborted) {
      const batch = await this.#next();
      if (batch.length === 0) continue;
      this.#oldestAtMs = Date.parse(batch[0]!.at);
      if (!(await this.#deliver(batch))) return;
      this.#missed(batch[0]!.seq - this.#cursor - 1);
      this.#delivered += batch.length;
      this.#cursor = batch.at(-1)!.seq;
      this.#oldestAtMs = undefined;
      if (this.#clock.monotonicMs() - this.#savedAtMs >= SAVE_MS) await this.#save();
    }
  }

  #missed(entries: number): void {
    if (entries === 0) return;
    this.#skipped += entries;
    const fields = { export: this.#name, entries, after: this.#cursor };
    this.#log.warn(fields, 'entries of the audit were pruned before they were exported');
  }

  /** Waits for an entry, and takes along those that are there by then. */
  async #next(): Promise<AuditEntry[]> {
    const { signal } = this.#stop;
    // So that an idle chain does not leave its end unsaved.
    const saving =
      this.#cursor > this.#savedSeq ? setTimeout(() => void this.#save().catch(() => {}), SAVE_MS).unref() : undefined;
    try {
      for await (const _ of this.#audit.read({ after: this.#cursor, limit: 1, follow: true, signal }));
    } finally {
      clearTimeout(saving);
    }
    if (this.#endSeq - this.#cursor < BATCH_ENTRIES) await pause(LINGER_MS, signal);
    const batch: AuditEntry[] = [];
    let rows = 0;
    for await (const entry of this.#audit.read({ after: this.#cursor, limit: BATCH_ENTRIES, follow: false, signal })) {
      batch.push(entry);
      rows += (entry.event.records as UsageRecord[] | undefined)?.length ?? 1;
      if (rows >= BATCH_ROWS) break;
    }
    return batch;
  }

  /** Until it has succeeded. False: it is to end. */
  async #deliver(batch: readonly AuditEntry[]): Promise<boolean> {
    const { signal } = this.#stop;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        await this.#sink.send(batch);
        if (attempt > 0) this.#log.info({ export: this.#name, attempts: attempt }, 'the audit is exported again');
        return true;
      } catch (error) {
        if (signal.aborted) return false;
        this.#failures += 1;
        const fields = { export: this.#name, behind: this.lag().entries, error: errorText(error) };
        this.#log.warn(fields, 'the audit could not be exported, it is tried again');
        const pauseMs = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** Math.min(attempt, 16));
        await pause(pauseMs * (0.5 + Math.random() / 2), signal);
      }
    }
    return false;
  }

  async #save(): Promise<void> {
    const seq = this.#cursor;
    this.#savedAtMs = this.#clock.monotonicMs();
    await this.#repository.transaction((tx) => tx.meta.set(this.#cursorName, Buffer.from(String(seq))));
    this.#savedSeq = seq;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
