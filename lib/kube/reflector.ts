import { Backoff } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import { errorText } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { KubeClient } from './client.ts';
import { KubeError } from './kubeError.ts';
import { type KubeObject, keyOf, type Query, type WatchEvent } from './kubeObject.ts';

const RETRY = { firstMs: 200, limitMs: 30_000 };
/** The safety net under the watch. */
const RELIST_MS = 10 * 60_000;
const GONE = 410;

export interface ReflectorState {
  /** Whether everything was listed at least once; what is held may be old while there is a failure. */
  synced: boolean;
  failure?: { status?: number; reason: string };
}

/** Without `before` it is new; without `after` it is gone. An object that took the name of another is two changes. */
export interface ReflectorChange<T> {
  key: string;
  before?: T;
  after?: T;
}

export interface ReflectorOptions<T> {
  client: KubeClient;
  /** Of the collection, such as /api/v1/namespaces/x/secrets. */
  path: string;
  query?: Query;
  clock: Clock;
  log: Logger;
  /** What is held of an object: little; undefined to hold nothing of it, as if it were not there. */
  keep?: (object: KubeObject) => T | undefined;
  onChange: (change: ReflectorChange<T>) => void;
  onState?: (state: ReflectorState) => void;
}

interface Entry<T> {
  item: T;
  uid: string | undefined;
  resourceVersion: string | undefined;
}

/**
 * A copy of a collection of the API server that follows it: list, then watch with resume. A 410 lists again, any other end backs off and
 * goes on where it was; and every ten minutes it lists anyway.
 */
export class Reflector<T extends object = KubeObject> {
  readonly #o: ReflectorOptions<T>;
  readonly #entries = new Map<string, Entry<T>>();
  readonly #items = new Map<string, T>();
  readonly #stop = new AbortController();
  readonly #backoff = new Backoff(RETRY);
  readonly #synced = Promise.withResolvers<void>();
  /** Keys that events have named since a refresh began. */
  readonly #refreshes = new Set<Set<string>>();
  #state: ReflectorState = { synced: false };
  #resourceVersion: string | undefined;
  #relistAtMs = 0;
  #watch = new AbortController();

  constructor(options: ReflectorOptions<T>) {
    this.#o = options;
  }

  /** By `namespace/name` (or the name alone of what is in no namespace); the live map, which changes. */
  get items(): ReadonlyMap<string, T> {
    return this.#items;
  }

  get state(): ReflectorState {
    return this.#state;
  }

  start(): void {
    this.#run().catch((error: unknown) => {
      this.#o.log.error({ path: this.#o.path, error: errorText(error) }, 'a reflector ended by a fault of its own');
    });
  }

  /** Resolves when everything was listed once; never if it is closed before. */
  synced(): Promise<void> {
    return this.#synced.promise;
  }

  /** Asks for one object anew: for a `keep` that wants now what it did not want before. @throws KubeRefused, KubeUnreachable */
  async refresh(name: string): Promise<void> {
    const touched = new Set<string>();
    this.#refreshes.add(touched);
    try {
      const { client, path, query } = this.#o;
      const selectors = [query?.fieldSelector, `metadata.name=${name}`].filter((selector) => selector !== undefined);
      const { items } = await client.list<KubeObject>(path, { ...query, fieldSelector: selectors.join(',') });
      // What the watch has told meanwhile is newer.
      for (const object of items) if (!touched.has(keyOf(object))) this.#take(object);
    } finally {
      this.#refreshes.delete(touched);
    }
  }

  /** Holds an object no more that `keep` does not want any more; it is told as gone. */
  drop(key: string): void {
    this.#remove(key);
  }

  close(): void {
    this.#stop.abort();
    this.#watch.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === undefined || this.#o.clock.monotonicMs() >= this.#relistAtMs) await this.#list();
        await this.#follow();
      } catch (error) {
        if (signal.aborted) return;
        await this.#failed(error);
      }
    }
  }

  async #list(): Promise<void> {
    const { client, clock, path, query } = this.#o;
    const seen = new Set<string>();
    let resourceVersion = '';
    for await (const page of client.pages<KubeObject>(path, query)) {
      if (this.#stop.signal.aborted) return;
      for (const object of page.items) {
        seen.add(keyOf(object));
        this.#take(object);
      }
      resourceVersion = page.resourceVersion;
    }
    for (const key of [...this.#entries.keys()]) if (!seen.has(key)) this.#remove(key);
    this.#resourceVersion = resourceVersion;
    this.#relistAtMs = clock.monotonicMs() + RELIST_MS * (1 - Math.random() / 10);
    this.#backoff.reset();
    this.#well();
  }

  /** One watch to its end. */
  async #follow(): Promise<void> {
    const { client, clock, path, query } = this.#o;
    this.#watch = new AbortController();
    const { signal } = this.#watch;
    if (this.#stop.signal.aborted) return;
    const leftMs = Math.max(1_000, this.#relistAtMs - clock.monotonicMs());
    const timer = setTimeout(() => this.#watch.abort(), leftMs);
    const startedMs = clock.monotonicMs();
    try {
      const asked = { ...query, limit: undefined, resourceVersion: this.#resourceVersion };
      for await (const event of client.watch(path, asked, signal, () => this.#well())) {
        this.#backoff.reset();
        this.#event(event);
      }
    } finally {
      clearTimeout(timer);
    }
    // A server that ends every watch at once is not asked in a loop.
    if (!signal.aborted && clock.monotonicMs() - startedMs < 1_000) await this.#backoff.pause(0, this.#stop.signal);
  }

  #event({ object, type }: WatchEvent): void {
    const { metadata } = object;
    if (metadata?.resourceVersion !== undefined) this.#resourceVersion = metadata.resourceVersion;
    if (type === 'BOOKMARK') return;
    const key = keyOf(object);
    for (const touched of this.#refreshes) touched.add(key);
    if (type === 'DELETED') this.#remove(key);
    else this.#take(object);
  }

  #take(object: KubeObject): void {
    const key = keyOf(object);
    const { resourceVersion, uid } = object.metadata ?? {};
    const before = this.#entries.get(key);
    if (before !== undefined && before.resourceVersion === resourceVersion && before.uid === uid) return;
    const { keep = (whole: KubeObject) => whole as unknown as T } = this.#o;
    const item = keep(object);
    if (item === undefined) {
      this.#remove(key);
      return;
    }
    if (before !== undefined && before.uid !== uid) this.#remove(key);
    const last = this.#items.get(key);
    this.#entries.set(key, { item, uid, resourceVersion });
    this.#items.set(key, item);
    this.#tell({ key, ...(last !== undefined && { before: last }), after: item });
  }

  #remove(key: string): void {
    const before = this.#items.get(key);
    this.#entries.delete(key);
    if (this.#items.delete(key)) this.#tell({ key, before: before! });
  }

  #tell(change: ReflectorChange<T>): void {
    try {
      this.#o.onChange(change);
    } catch (error) {
      this.#o.log.error({ key: change.key, error: errorText(error) }, 'a change could not be handled');
    }
  }

  #well(): void {
    if (this.#state.synced && this.#state.failure === undefined) return;
    this.#setState({ synced: true });
    this.#synced.resolve();
  }

  async #failed(error: unknown): Promise<void> {
    const kube = error instanceof KubeError ? error : undefined;
    if (kube?.status === GONE) {
      // What we know is too old to be gone on from (RFC 9110 section 15.5.11; client-go does the same).
      this.#resourceVersion = undefined;
    } else {
      const failure =
        kube === undefined
          ? { reason: errorText(error) }
          : { reason: kube.reason, ...(kube.status > 0 && { status: kube.status }) };
      const { failure: last } = this.#state;
      if (last?.status !== failure.status || last?.reason !== failure.reason) {
        this.#o.log.warn(
          { path: this.#o.path, error: errorText(error) },
          'objects cannot be followed; it is tried again',
        );
        this.#setState({ synced: this.#state.synced, failure });
      }
    }
    await this.#backoff.pause(kube?.retryAfterSeconds, this.#stop.signal);
  }

  #setState(state: ReflectorState): void {
    this.#state = state;
    this.#o.onState?.(state);
  }
}
