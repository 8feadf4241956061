import { type StoreAddress, storeAddress } from './storeAddress.ts';

/** Codes of a replica that is there but cannot do its work now. */
const UNABLE = new Set(['StorageFailed', 'StoreSealed']);

/** The replicas of the store. Everything of this sidecar talks to the same one, until that fails. */
export class StoreReplicas {
  readonly #addresses: readonly StoreAddress[];
  #current: StoreAddress;

  constructor(addresses: readonly [StoreAddress, ...StoreAddress[]]) {
    this.#addresses = addresses;
    this.#current = addresses[0];
  }

  /** From https:// URLs with commas between; begins with any of them, so that many sidecars share the work among the replicas. */
  static of(storeUrls: string): StoreReplicas {
    const [first, ...others] = storeUrls.split(',').map(storeAddress);
    const all = [first!, ...others] as [StoreAddress, ...StoreAddress[]];
    const replicas = new StoreReplicas(all);
    replicas.#current = all[Math.floor(Math.random() * all.length)]!;
    return replicas;
  }

  get count(): number {
    return this.#addresses.length;
  }

  get current(): StoreAddress {
    return this.#current;
  }

  /** That one is not to be reached: the next one is the current one from now on. */
  failed(address: StoreAddress): void {
    if (address !== this.#current) return;
    this.#current = this.#addresses[(this.#addresses.indexOf(address) + 1) % this.#addresses.length]!;
  }

  /** Whether an answer with this code means that another replica should be asked. */
  static isUnable(code: string): boolean {
    return UNABLE.has(code);
  }
}
