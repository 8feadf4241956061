import type { Repository } from '../persist/repository.ts';
import { KekError, type WrappedKey } from './kek.ts';
import { ownKeys, sum, takeCensus } from './kekCensus.ts';
import type { Vault } from './vault.ts';

/** Calls to a KMS at one time. */
const PARALLEL = 8;

/** Keys that a pass did not bring over. */
interface Leftover {
  left: number;
  damaged: number;
}

export interface KekRewrapOptions {
  repository: Repository;
  vault: Vault;
  /** Data keys that are wrapped anew in one transaction. */
  batch: number;
  signal: AbortSignal;
}

/** Brings keys under another KEK, in batches: each in a transaction of its own, and each key only if it is still what was read. */
export class KekRewrap {
  readonly #o: KekRewrapOptions;
  #done = 0;
  #total = 0;

  constructor(options: KekRewrapOptions) {
    this.#o = options;
  }

  get progress(): { done: number; total: number } {
    return { done: Math.min(this.#done, this.#total), total: this.#total };
  }

  /** Once through all keys, or until the signal. What is left was changed meanwhile; what is damaged no key opens. */
  async pass(to: string): Promise<Leftover> {
    const { repository, batch, signal } = this.#o;
    const census = await takeCensus(repository);
    this.#total = sum(census.dataKeys) + sum(census.ownKeys);
    this.#done = (census.dataKeys.get(to) ?? 0) + (census.ownKeys.get(to) ?? 0);
    const over: Leftover = { left: await this.#ownKeysTo(to), damaged: 0 };
    for (let after = ''; !signal.aborted; ) {
      const page = await repository.transaction((tx) => tx.dataKeys.page(after, batch));
      const old = page.filter(({ key }) => key.kekId !== to);
      if (old.length > 0) {
        const { left, damaged } = await this.#dataKeysTo(to, old);
        over.left += left;
        over.damaged += damaged;
      }
      if (page.length < batch) break;
      after = page.at(-1)!.credential;
    }
    return over;
  }

  async #dataKeysTo(to: string, old: { credential: string; key: WrappedKey }[]): Promise<Leftover> {
    const { repository, vault } = this.#o;
    const wrapped = await inParallel(old, async ({ credential, key }) => {
      try {
        return { credential, before: key, after: await vault.rewrapDataKey(credential, key, to) };
      } catch (error) {
        // Damaged long ago: it stays as it is. Setting the material again makes another.
        if (error instanceof KekError && error.code === 'KekRefused') return undefined;
        throw error;
      }
    });
    const whole = wrapped.filter((one) => one !== undefined);
    const brought = await repository.transaction(async (tx) => {
      let count = 0;
      for (const { credential, before, after } of whole) {
        const now = await tx.dataKeys.get(credential);
        if (now === undefined || now.kekId !== before.kekId || !now.wrapped.equals(before.wrapped)) continue;
        await tx.dataKeys.put(credential, after);
        count += 1;
      }
      return count;
    });
    this.#done += brought;
    return { left: whole.length - brought, damaged: old.length - whole.length };
  }

  async #ownKeysTo(to: string): Promise<number> {
    const { repository, vault } = this.#o;
    let left = 0;
    for (const { name, value, kekId } of await ownKeys(repository)) {
      if (kekId === to) continue;
      // Not damage that one could live with: without its own keys a store does not start.
      const rewrapped = await vault.rewrapOwn(name, value, to);
      const brought = await repository.transaction(async (tx) => {
        if (!(await tx.meta.get(name))?.equals(value)) return false;
        await tx.meta.set(name, rewrapped);
        return true;
      });
      if (brought) this.#done += 1;
      else left += 1;
    }
    return left;
  }
}

/** The results in order; as many at a time as a KMS takes. */
async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  const one = async () => {
    while (next < items.length) {
      const index = next;
      next += 1;
      results[index] = await work(items[index]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, one));
  return results;
}
