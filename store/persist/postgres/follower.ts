import type { Client } from 'pg';
import { errorText } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import { storeError } from '../../errors.ts';
import type { Snapshot } from '../repository.ts';
import { CHANNEL, changesAfter, isFullPage, type LoggedChange, type NumberedChange } from './changes.ts';
import { Known } from './known.ts';
import { Link } from './link.ts';
import { readSnapshot } from './snapshot.ts';

/** The net under the notifications: how often the log is read when nothing wakes us. */
const POLL_MS = 1_000;
/** How long the log may go unread before what we know is too old to act on. */
const DETACHED_MS = 3_000;
const CONNECT_MS = 2_000;

/** Reads the log of changes, in order and each once: woken by notifications, every second without. */
export class Follower {
  readonly #url: string;
  readonly #name: string;
  readonly #link: Link;
  readonly #log: Logger;
  readonly #tell: (changes: readonly LoggedChange[]) => void;
  readonly #detached: () => void;
  #known = new Known();
  /** Number of the last change that was told; undefined before it is known where to begin. */
  #cursor: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pulling: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #heardMs = performance.now();
  #isDetached = false;

  constructor(options: {
    url: string;
    name: string;
    log: Logger;
    tell: (changes: readonly LoggedChange[]) => void;
    detached: () => void;
  }) {
    this.#url = options.url;
    this.#name = options.name;
    this.#log = options.log;
    this.#tell = options.tell;
    this.#detached = options.detached;
    this.#link = new Link({
      ...options,
      setup: async (client) => {
        client.on('notification', ({ payload }) => {
          if (Number(payload) > (this.#cursor ?? -1)) this.#pullQuietly();
        });
        await client.query(`LISTEN ${CHANNEL}`);
      },
    });
  }

  /** A connection for single statements. @throws StorageFailed */
  client(): Promise<Client> {
    return this.#link.get(CONNECT_MS);
  }

  async load(): Promise<Snapshot> {
    const { snapshot, cursor } = await readSnapshot(this.#url, this.#name);
    this.#known = new Known(snapshot);
    this.#cursor = cursor;
    return snapshot;
  }

  /** From here on there is somebody to tell; what was committed since `load` is told first. */
  start(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => {
      this.#pullQuietly();
      if (this.#isDetached || performance.now() - this.#heardMs < DETACHED_MS) return;
      this.#isDetached = true;
      this.#log.warn({}, 'the database is out of reach: what others change is not known here');
      this.#detached();
    }, POLL_MS).unref();
    this.#heardMs = performance.now();
    this.#pullQuietly();
  }

  /** Tells what this process has committed itself, after all that came before it. @throws StorageFailed */
  async committed(own: readonly NumberedChange[] | undefined): Promise<void> {
    if (this.#timer === undefined) return; // Told when there is somebody to tell.
    if (own === undefined) return this.pull();
    const [first] = own;
    if (first === undefined) return;
    if (this.#cursor === undefined || first.id === this.#cursor + 1) this.#apply(own);
    else if (own.at(-1)!.id > this.#cursor) await this.pull();
  }

  /** Tells what was committed before the call. @throws StorageFailed */
  pull(): Promise<void> {
    // One that is under way may have read before the call: the one after it has not.
    this.#next ??= (this.#pulling ?? Promise.resolve()).then(() => {
      this.#next = undefined;
      const pulling = this.#pull();
      const settled = pulling.catch(() => {});
      this.#pulling = settled;
      settled.then(() => {
        if (this.#pulling === settled) this.#pulling = undefined;
      });
      return pulling;
    });
    return this.#next;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#link.close();
  }

  async #pull(): Promise<void> {
    if (this.#timer === undefined) return;
    const client = await this.client();
    try {
      for (;;) {
        const page = await this.#page(client);
        this.#heardMs = performance.now();
        if (!page) break;
      }
      if (!this.#isDetached) return;
      this.#isDetached = false;
      this.#log.info({}, 'the database is back');
    } catch (error) {
      this.#link.drop(client);
      throw storeError('StorageFailed', undefined, { cause: error });
    }
  }

  /** Whether there may be more. */
  async #page(client: Client): Promise<boolean> {
    if (this.#cursor === undefined) {
      const { rows } = await client.query('SELECT coalesce(max(id), 0) AS id FROM changes');
      this.#cursor ??= Number(rows[0].id);
      return false;
    }
    const page = await changesAfter(client, this.#cursor);
    if (page === undefined) {
      await this.#resync();
      return true;
    }
    this.#apply(page);
    return isFullPage(page);
  }

  /** After a gap in what could be read: tells the difference instead. */
  async #resync(): Promise<void> {
    this.#log.warn({}, 'fell too far behind the changes of others: reading everything anew');
    const { snapshot, cursor, metaNames } = await readSnapshot(this.#url, this.#name);
    // What this process has committed meanwhile is told already, and newer.
    if (cursor <= (this.#cursor ?? 0)) return;
    const changes = this.#known.changesTo(snapshot, metaNames);
    this.#apply(changes.map((change) => ({ id: cursor, change })));
  }

  #apply(page: readonly NumberedChange[]): void {
    const cursor = this.#cursor ?? -1;
    const fresh = page.filter(({ id }) => id > cursor);
    if (fresh.length === 0) return;
    this.#cursor = fresh.at(-1)!.id;
    const changes = fresh.map(({ change }) => change);
    for (const change of changes) this.#known.told(change);
    this.#tell(changes);
  }

  #pullQuietly(): void {
    this.pull().catch((error: unknown) => {
      if (!this.#isDetached) this.#log.warn({ error: errorText(error) }, 'the changes of others cannot be read now');
    });
  }
}
