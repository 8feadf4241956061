import { readFileSync } from 'node:fs';
import { Agent, request } from 'undici';
import type { AuditEntry } from '../../../api/admin.ts';
import { otlpOf } from '../../../lib/audit/otlp.ts';
import { rowsOf } from '../../../lib/audit/row.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/log.ts';
import { TLS_DEFAULTS } from '../../../lib/tls.ts';
import { VERSION } from '../../../lib/version.ts';
import type { OtlpTarget } from './config.ts';
import type { AuditSink } from './sink.ts';

const ANSWER_MS = 10_000;
const SAID_LIMIT = 200;
const RETRY_AFTER_LIMIT_SECONDS = 60;

/** OTLP over HTTP with JSON: log records to /v1/logs. What is not answered with a success is sent again. */
export class OtlpSink implements AuditSink {
  readonly #target: OtlpTarget;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #agent: Agent;
  readonly #closed = new AbortController();

  constructor(target: OtlpTarget, options: { clock: Clock; log: Logger }) {
    this.#target = target;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#agent = new Agent({
      connections: 1,
      headersTimeout: ANSWER_MS,
      bodyTimeout: ANSWER_MS,
      connect: { ...TLS_DEFAULTS, ...(target.caFile !== undefined && { ca: readFileSync(target.caFile) }) },
    });
  }

  async send(entries: readonly AuditEntry[]): Promise<void> {
    const body = JSON.stringify(otlpOf(entries.flatMap(rowsOf), VERSION, this.#clock.nowMs()));
    const answer = await request(this.#target.url, {
      dispatcher: this.#agent,
      signal: this.#closed.signal,
      method: 'POST',
      headers: { ...this.#headers(), 'content-type': 'application/json' },
      body,
    });
    const text = await answer.body.text();
    if (answer.statusCode >= 200 && answer.statusCode < 300) {
      this.#checkPartial(text);
      return;
    }
    await this.#pause(answer.headers['retry-after']);
    throw new Error(`${this.#target.url} answered ${answer.statusCode}: ${text.slice(0, SAID_LIMIT)}`);
  }

  close(): void {
    this.#closed.abort();
    void this.#agent.destroy().catch(() => {});
  }

  #headers(): Record<string, string> {
    const { headersFile } = this.#target;
    if (headersFile === undefined) return {};
    const lines = readFileSync(headersFile, 'utf8').split('\n');
    return Object.fromEntries(
      lines.flatMap((line) => {
        const colon = line.indexOf(':');
        return colon > 0 ? [[line.slice(0, colon).trim(), line.slice(colon + 1).trim()]] : [];
      }),
    );
  }

  /** What the receiver took but does not want must not be sent again (OTLP specification, partial success). */
  #checkPartial(text: string): void {
    let partial: { rejectedLogRecords?: string | number; errorMessage?: string } | undefined;
    try {
      partial = JSON.parse(text).partialSuccess;
    } catch {
      return; // Some answer with an empty body; the status says enough.
    }
    const rejected = Number(partial?.rejectedLogRecords ?? 0);
    if (rejected > 0)
      this.#log.error(
        { rejected, message: partial?.errorMessage },
        'the receiver of the audit does not want some records',
      );
  }

  async #pause(retryAfter: string | string[] | undefined): Promise<void> {
    const seconds = Math.min(RETRY_AFTER_LIMIT_SECONDS, Number(retryAfter ?? 0));
    if (!(seconds > 0)) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.#closed.signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
