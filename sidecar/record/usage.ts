import { randomBytes } from 'node:crypto';
import type { UsageRecord, UsageReport } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { Refusal, RefusalCode } from '../errors.ts';
import type { Entry } from '../grants/entry.ts';
import type { HeldLease } from '../grants/lease.ts';
import type { Metrics, Outcome } from './metrics.ts';
import { pathTemplate } from './pathTemplate.ts';
import { StrictUses } from './strictUses.ts';

/** Longest that a use is kept before the store is told. */
const BATCH_MS = 900;
/** As many as the store takes in one report (USAGE_RECORDS_LIMIT of protocolSchema.ts, which would bring zod along). */
const RECORDS_LIMIT = 1_024;
/** Different request shapes of one batch from which on paths are given as `*`. */
const PATHS_LIMIT = 512;
const RETRY_MS = 1_000;

/** What is known of a request before it goes out. */
export interface IntendedUse {
  /** Of `nextId`. */
  requestId: string;
  authority: string;
  method: string;
  path: string;
  entry: Entry;
  lease: HeldLease;
}

/** One request as it went, told once it is over. */
export interface Use {
  /** Only where it was on record before (`intend`): then this record is about it alone. */
  requestId?: string | undefined;
  /** `host:port`; empty where no upstream was understood. */
  authority: string;
  method: string;
  /** Without the query; it is on record as a template. */
  path: string;
  /** Status the agent got. */
  status: number;
  refusal?: RefusalCode | undefined;
  entry?: Entry | undefined;
  lease?: HeldLease | undefined;
  bytesUp: number;
  bytesDown: number;
  durationMs: number;
  tunnel?: boolean | undefined;
}

export interface UsageSink {
  /** @throws StoreFailure */
  report(report: UsageReport): Promise<void>;
}

/** Uses of one shape: a record with a count. */
interface Shape {
  readonly record: UsageRecord;
  /** The one that came last. */
  use: Use;
  /** Number of the last of several, made into its id when the store is told; 0 as long as there is but one. */
  lastId: number;
}

/** Counts uses and tells the store in batches of less than a second: equal requests are one record with a count. */
export class UsageLog {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #metrics: Metrics;
  readonly #sink: UsageSink;
  #batch = new Map<string, Shape>();
  /** What the last use was counted as: the next one is mostly of the same shape, which is told without making its key. */
  #latest: Shape | undefined;
  #dropped = 0;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  readonly #strict: StrictUses;
  /** Of this process, so that its counter is enough from there on. */
  readonly #idPrefix = randomBytes(6).toString('hex');
  #ids = 0;

  constructor(options: { clock: Clock; log: Logger; metrics: Metrics; sink: UsageSink }) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#metrics = options.metrics;
    this.#sink = options.sink;
    this.#strict = new StrictUses(options);
  }

  /** A name for one request, never used twice. */
  nextId(): string {
    this.#ids += 1;
    return this.#id(this.#ids);
  }

  #id(number: number): string {
    return `${this.#idPrefix}-${number.toString(36)}`;
  }

  /** Calls back once the use is durable in the store, or with why it must not happen. Returns how to call it off. */
  intend(use: IntendedUse, callback: (refusal: Refusal | undefined) => void): () => void {
    const { requestId, method, authority, path, entry, lease } = use;
    const record: UsageRecord = {
      requestId,
      atMs: Math.round(this.#clock.nowMs()),
      count: 1,
      authority: authority.slice(0, 270),
      method: method.slice(0, 32),
      path: pathTemplate(path),
      status: 0,
      ...ruleOf(use),
      integration: entry.integration,
      credential: entry.credential,
      version: lease.version,
      leaseId: lease.id,
      bytesUp: 0,
      bytesDown: 0,
      durationMs: 0,
    };
    return this.#strict.intend(record, callback);
  }

  record(use: Use): void {
    this.#metrics.request(outcomeOf(use), use);
    const latest = this.#latest;
    if (latest !== undefined && alike(latest.use, use)) {
      this.#ids += 1;
      count(latest, use, this.#ids);
      return;
    }
    const path = this.#batch.size < PATHS_LIMIT ? pathTemplate(use.path) : '*';
    const { entry, lease } = use;
    const rule = ruleOf(use);
    const requestId = use.requestId ?? this.nextId();
    const key =
      use.requestId ??
      `${use.method} ${use.authority}${path} ${use.status} ${use.refusal} ${entry?.integration} ${rule?.rule} ${lease?.id}`;
    const known = this.#batch.get(key);
    if (known !== undefined) {
      count(known, use, this.#ids);
      known.use = use;
      this.#latest = known;
      return;
    }
    if (this.#batch.size >= RECORDS_LIMIT) {
      this.#drop(1);
      return;
    }
    const record: UsageRecord = {
      requestId,
      atMs: Math.round(this.#clock.nowMs()),
      count: 1,
      authority: use.authority.slice(0, 270),
      method: use.method.slice(0, 32),
      path,
      status: use.status,
      ...(use.refusal && { refusal: use.refusal }),
      ...(entry && { integration: entry.integration, ...rule, credential: entry.credential }),
      ...(lease && { version: lease.version, leaseId: lease.id }),
      bytesUp: use.bytesUp,
      bytesDown: use.bytesDown,
      durationMs: Math.max(0, use.durationMs),
    };
    this.#latest = { record, use, lastId: 0 };
    this.#batch.set(key, this.#latest);
    this.#timer ??= setTimeout(() => void this.#next(), BATCH_MS);
  }

  /** Delivers what there is, or gives it up. */
  async flush(): Promise<void> {
    await this.#sending;
    await this.#next();
  }

  /** One report at a time: while it is on its way the next batch grows. */
  async #next(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#sending !== undefined) return;
    this.#sending = this.#send();
    await this.#sending;
    this.#sending = undefined;
    if (this.#batch.size > 0) this.#timer ??= setTimeout(() => void this.#next(), BATCH_MS);
  }

  async #send(): Promise<void> {
    if (this.#batch.size === 0 && this.#dropped === 0) return;
    const records = Array.from(this.#batch.values(), ({ record, lastId }) =>
      lastId === 0 ? record : { ...record, lastRequestId: this.#id(lastId) },
    );
    const report: UsageReport = { records, dropped: this.#dropped };
    this.#batch = new Map();
    this.#latest = undefined;
    this.#dropped = 0;
    try {
      await this.#sink.report(report).catch(async () => {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        await this.#sink.report(report);
      });
    } catch (error) {
      this.#dropped += report.dropped;
      this.#drop(report.records.reduce((sum, record) => sum + record.count, 0));
      this.#log.warn({ dropped: this.#dropped, error: errorText(error) }, 'the store was not told of uses');
    }
  }

  #drop(count: number): void {
    this.#dropped += count;
    this.#metrics.usageDropped += count;
  }
}

/** Whether two uses are certainly of one shape. */
function alike(a: Use, b: Use): boolean {
  return (
    a.requestId === undefined &&
    b.requestId === undefined &&
    a.path === b.path &&
    a.lease === b.lease &&
    a.entry === b.entry &&
    a.status === b.status &&
    a.method === b.method &&
    a.refusal === b.refusal &&
    a.authority === b.authority
  );
}

function count(shape: Shape, use: Use, id: number): void {
  const { record } = shape;
  record.count += 1;
  record.bytesUp += use.bytesUp;
  record.bytesDown += use.bytesDown;
  record.durationMs += use.durationMs;
  shape.lastId = id;
}

function outcomeOf(use: Use): Outcome {
  if (use.refusal !== undefined) return 'refused';
  if (use.tunnel) return 'tunnel';
  return use.entry === undefined ? 'passed' : 'credential';
}

function ruleOf({ entry, method, path }: Pick<Use, 'entry' | 'method' | 'path'>): { rule: number } | undefined {
  const rule = entry?.rules.deciding(method, path);
  return rule === undefined ? undefined : { rule };
}
