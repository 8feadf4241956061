import type { Repository, Transaction } from '../persist/repository.ts';

/** Keys that one transaction may miss one after the other: a data key and a new one. */
const FETCH_LIMIT = 8;

/** Thrown within a transaction that needs a key from afar: the transaction ends, `fetch` gets the key, and the work is done again. */
export class KeyNotAtHand extends Error {
  readonly fetch: () => Promise<void>;

  constructor(fetch: () => Promise<void>) {
    super('the key has to be fetched first');
    this.fetch = fetch;
  }
}

/** The same repository, whose transactions never wait for a key management service: all others would wait with them. */
export function fetchingKeys(repository: Repository): Repository {
  const transaction = async <T>(work: (tx: Transaction) => Promise<T>): Promise<T> => {
    for (let fetched = 0; ; fetched += 1) {
      try {
        return await repository.transaction(work);
      } catch (error) {
        if (!(error instanceof KeyNotAtHand) || fetched === FETCH_LIMIT) throw error;
        await error.fetch();
      }
    }
  };
  return new Proxy(repository, {
    get: (target, property) => {
      if (property === 'transaction') return transaction;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
