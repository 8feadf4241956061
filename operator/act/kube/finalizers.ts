import { API_VERSION } from '../../../api/metadata.ts';
import type { Clock } from '../../../lib/clock.ts';
import { type KubeClient, KubeError } from '../../../lib/kube/client.ts';
import type { Logger } from '../../../lib/log.ts';
import { STORE_FINALIZER } from '../../source/kube/finalizer.ts';
import { KeyedQueue } from './keyedQueue.ts';
import type { KubeEvents } from './kubeEvents.ts';

const CONCURRENCY = 8;
const SOON_MS = 250;
/** A deletion, and with it that of a namespace, never waits longer for the store. */
const WAIT_LIMIT_MS = 5 * 60_000;
/** The API server's clock, which says when a deletion was, and ours may be as far apart. */
const SKEW_LIMIT_MS = 5 * 60_000;
/** Owns the entry in metadata.finalizers, and so may take it out again. */
export const FINALIZER_MANAGER = 'sidekey-finalizer';
const GONE = 404;
const CONFLICT = 409;

/** Of a Credential, what matters for its finalizer. */
export interface Finalized {
  uid: string;
  finalizer: boolean;
  deletedAtMs: number | undefined;
}

export interface FinalizersOptions {
  client: KubeClient;
  clock: Clock;
  log: Logger;
  events: KubeEvents;
  credentials: () => ReadonlyMap<string, Finalized>;
  /** Whether the store holds something of a Credential, as far as is known. */
  held: (key: string) => boolean;
  permitted: () => boolean;
  /** Of a test. */
  waitLimitMs?: number;
}

/** Keeps Credentials from going before the store has dropped what it holds of them; never for long. */
export class Finalizers {
  readonly #o: FinalizersOptions;
  readonly #queue: KeyedQueue;
  /** UID of what is being deleted → when that was first seen; monotonic. */
  readonly #seenAtMs = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;

  constructor(options: FinalizersOptions) {
    this.#o = options;
    this.#queue = new KeyedQueue({
      concurrency: CONCURRENCY,
      log: options.log,
      what: 'changing a finalizer',
      work: (key) => this.#settle(key),
    });
  }

  get depth(): number {
    return this.#queue.depth;
  }

  /** Something is different; many such moments are looked at once. */
  lookSoon(): void {
    this.#soon ??= setTimeout(() => this.look(), SOON_MS);
  }

  /** Looks at all of them; after each round. */
  look(): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    clearTimeout(this.#timer);
    let nextMs = Number.POSITIVE_INFINITY;
    this.#notice();
    for (const [key, credential] of this.#o.credentials()) {
      if (this.#wanted(key, credential) !== credential.finalizer) this.#queue.add(key);
      else if (credential.finalizer && credential.deletedAtMs !== undefined)
        nextMs = Math.min(nextMs, this.#leftMs(credential.uid, credential.deletedAtMs));
    }
    if (Number.isFinite(nextMs)) this.#timer = setTimeout(() => this.look(), nextMs + 100);
  }

  close(): void {
    clearTimeout(this.#soon);
    clearTimeout(this.#timer);
    this.#queue.close();
  }

  #notice(): void {
    const going = [...this.#o.credentials().values()].filter(({ deletedAtMs }) => deletedAtMs !== undefined);
    const uids = new Set(going.map(({ uid }) => uid));
    for (const uid of this.#seenAtMs.keys()) if (!uids.has(uid)) this.#seenAtMs.delete(uid);
    for (const uid of uids) if (!this.#seenAtMs.has(uid)) this.#seenAtMs.set(uid, this.#o.clock.monotonicMs());
  }

  /** Counted from when we saw it, and if operators come and go, from when it was, as far as clocks can be trusted. */
  #leftMs(uid: string, deletedAtMs: number): number {
    const { clock, waitLimitMs = WAIT_LIMIT_MS } = this.#o;
    const waitedMs = clock.monotonicMs() - (this.#seenAtMs.get(uid) ?? clock.monotonicMs());
    return Math.min(waitLimitMs - waitedMs, deletedAtMs + waitLimitMs + SKEW_LIMIT_MS - clock.nowMs());
  }

  #wanted(key: string, { deletedAtMs, finalizer, uid }: Finalized): boolean {
    if (!this.#o.held(key)) return false;
    if (deletedAtMs === undefined) return true;
    // One that is going takes no new finalizer (the API server refuses it).
    return finalizer && this.#leftMs(uid, deletedAtMs) > 0;
  }

  async #settle(key: string): Promise<void> {
    const credential = this.#o.credentials().get(key);
    if (credential === undefined || !this.#o.permitted()) return;
    const wanted = this.#wanted(key, credential);
    if (wanted === credential.finalizer) return;
    const [namespace, name] = key.split('/') as [string, string];
    const late = !wanted && this.#o.held(key);
    if (late)
      this.#o.events.warn(
        { kind: 'Credential', namespace, name, uid: credential.uid },
        'StoreUnavailable',
        'The store could not be told in time that this Credential goes; it is let go, and what the store holds is withdrawn as soon as the store is back.',
      );
    // The finalizer is in a set that each manager has its own part of; the uid keeps it from another object by the same name.
    const metadata = { namespace, name, uid: credential.uid, ...(wanted && { finalizers: [STORE_FINALIZER] }) };
    try {
      await this.#o.client.apply(
        `/apis/${API_VERSION}/namespaces/${namespace}/credentials/${name}`,
        { apiVersion: API_VERSION, kind: 'Credential', metadata },
        FINALIZER_MANAGER,
      );
    } catch (error) {
      // It is gone, or another by its name: the watch tells.
      if (
        !(
          error instanceof KubeError &&
          (error.status === GONE || (error.status === CONFLICT && !this.#same(key, credential)))
        )
      )
        throw error;
    }
  }

  #same(key: string, { uid }: Finalized): boolean {
    return this.#o.credentials().get(key)?.uid === uid;
  }
}
