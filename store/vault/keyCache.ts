import type { Clock } from '../../lib/clock.ts';
import { secretBuffer } from '../../lib/secretBuffer.ts';

interface Held {
  key: Buffer;
  untilMs: number;
}

/** Unwrapped keys for a while and no more than so many, the longest held going first; overwritten when they go. */
export class KeyCache {
  readonly #clock: Clock;
  readonly #lifetimeMs: number;
  readonly #limit: number;
  /** In order of when each came, which is the order of when each goes. */
  readonly #held = new Map<string, Held>();
  readonly #fetching = new Map<string, Promise<void>>();

  constructor(options: { clock: Clock; seconds: number; limit: number }) {
    this.#clock = options.clock;
    this.#lifetimeMs = options.seconds * 1000;
    this.#limit = options.limit;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Stays the cache's: to be used at once, neither kept nor overwritten. */
  get(name: string): Buffer | undefined {
    this.expire();
    return this.#held.get(name)?.key;
  }

  /** Takes a copy. */
  put(name: string, key: Buffer): void {
    this.#drop(name);
    const copy = secretBuffer(key.length);
    key.copy(copy);
    this.#held.set(name, { key: copy, untilMs: this.#clock.monotonicMs() + this.#lifetimeMs });
    for (const [oldest] of this.#held) {
      if (this.#held.size <= this.#limit) break;
      this.#drop(oldest);
    }
  }

  /** Has it fetched, once for all who ask meanwhile; `fetch` gives the key over. */
  async fill(name: string, fetch: () => Promise<Buffer>): Promise<void> {
    let fetching = this.#fetching.get(name);
    if (fetching === undefined) {
      fetching = fetch()
        .then((key) => {
          this.put(name, key);
          key.fill(0);
        })
        .finally(() => this.#fetching.delete(name));
      this.#fetching.set(name, fetching);
    }
    await fetching;
  }

  expire(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [name, { untilMs }] of this.#held) {
      if (untilMs > nowMs) break;
      this.#drop(name);
    }
  }

  clear(): void {
    for (const name of [...this.#held.keys()]) this.#drop(name);
  }

  #drop(name: string): void {
    this.#held.get(name)?.key.fill(0);
    this.#held.delete(name);
  }
}
