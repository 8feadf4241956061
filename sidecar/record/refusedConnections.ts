import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { REFUSALS, Refusal } from '../errors.ts';
import type { UsageLog } from './usage.ts';

/** Lines in the log for each window of time; how many there would have been the next line says. */
const LINES_LIMIT = 10;
const WINDOW_MS = 60_000;

/** Connections that were refused before any request could be read from them: each counted, some logged. */
export class RefusedConnections {
  readonly #o: { clock: Clock; log: Logger; usage: UsageLog };
  #windowMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #unlogged = 0;

  constructor(options: { clock: Clock; log: Logger; usage: UsageLog }) {
    this.#o = options;
  }

  /** `status`: what the agent got in HTTP, 0 if nothing. */
  note(refusal: Refusal, { authority = '', status = 0 }: { authority?: string; status?: number } = {}): void {
    const { code, detail } = refusal;
    this.#o.usage.record({
      authority,
      method: 'CONNECT',
      path: '',
      status,
      refusal: code,
      bytesUp: 0,
      bytesDown: 0,
      durationMs: 0,
    });
    this.#log(code, authority, detail);
  }

  #log(code: keyof typeof REFUSALS, authority: string, detail: string): void {
    const nowMs = this.#o.clock.monotonicMs();
    if (nowMs - this.#windowMs >= WINDOW_MS) {
      this.#windowMs = nowMs;
      this.#lines = 0;
    }
    if (this.#lines >= LINES_LIMIT) {
      this.#unlogged += 1;
      return;
    }
    this.#lines += 1;
    const unlogged = this.#unlogged;
    this.#unlogged = 0;
    this.#o.log.warn({ code, authority, detail, ...(unlogged > 0 && { unlogged }) }, 'a connection was refused');
  }
}
