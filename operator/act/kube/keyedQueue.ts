import { Backoff } from '../../../lib/backoff.ts';
import { errorText } from '../../../lib/errors.ts';
import { KubeError } from '../../../lib/kube/client.ts';
import type { Logger } from '../../../lib/log.ts';

const RETRY = { firstMs: 500, limitMs: 30_000 };

export interface KeyedQueueOptions {
  /** How many keys are worked on at once. */
  concurrency: number;
  log: Logger;
  /** What a key is worked on for: of a log line. */
  what: string;
  /** Does what there is to do for a key, as of now. What it throws is tried again with back-off. */
  work: (key: string) => Promise<void>;
}

/** Works on keys, each once however often it was asked for, never one key twice at a time, and again where it failed. */
export class KeyedQueue {
  readonly #o: KeyedQueueOptions;
  readonly #ready = new Set<string>();
  readonly #running = new Set<string>();
  /** Asked for while it was worked on. */
  readonly #again = new Set<string>();
  readonly #backoffs = new Map<string, Backoff>();
  readonly #waiting = new Map<string, NodeJS.Timeout>();
  #closed = false;

  constructor(options: KeyedQueueOptions) {
    this.#o = options;
  }

  /** Keys that wait or are worked on. */
  get depth(): number {
    return this.#ready.size + this.#running.size + this.#waiting.size;
  }

  add(key: string): void {
    if (this.#closed) return;
    if (this.#running.has(key)) this.#again.add(key);
    // One that failed keeps waiting: what is new does not make the server better.
    else if (!this.#waiting.has(key) || !this.#backoffs.has(key)) {
      this.#wake(key);
      this.#ready.add(key);
    }
    this.#pump();
  }

  /** The other side is back: what failed is tried now. */
  flush(): void {
    for (const key of [...this.#waiting.keys()]) {
      this.#wake(key);
      this.add(key);
    }
  }

  /** After `ms`, unless it waits already. */
  addAfter(key: string, ms: number): void {
    if (this.#closed || this.#waiting.has(key)) return;
    const timer = setTimeout(() => {
      this.#waiting.delete(key);
      this.add(key);
    }, ms);
    this.#waiting.set(key, timer);
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    this.#ready.clear();
    this.#waiting.clear();
    this.#again.clear();
  }

  #wake(key: string): void {
    clearTimeout(this.#waiting.get(key));
    this.#waiting.delete(key);
  }

  #pump(): void {
    for (const key of this.#ready) {
      if (this.#closed || this.#running.size >= this.#o.concurrency) return;
      this.#ready.delete(key);
      this.#running.add(key);
      void this.#work(key);
    }
  }

  async #work(key: string): Promise<void> {
    let failed: { retryAfterSeconds: number | undefined } | undefined;
    try {
      await this.#o.work(key);
      this.#backoffs.delete(key);
    } catch (error) {
      failed = { retryAfterSeconds: error instanceof KubeError ? error.retryAfterSeconds : undefined };
      if (!this.#closed)
        this.#o.log.warn({ key, error: errorText(error) }, `${this.#o.what} failed; it is tried again`);
    }
    this.#running.delete(key);
    const again = this.#again.delete(key);
    if (failed !== undefined) {
      const backoff = this.#backoffs.get(key) ?? new Backoff(RETRY);
      this.#backoffs.set(key, backoff);
      this.addAfter(key, backoff.nextMs(failed.retryAfterSeconds));
    } else if (again) this.#ready.add(key);
    this.#pump();
  }
}
