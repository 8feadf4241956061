import { errorText } from '../../../lib/errors.ts';
import type { Logger } from '../../../lib/log.ts';
import { storeError, storeErrorCode } from '../../errors.ts';
import type { Change, Repository, Snapshot, Transaction } from '../repository.ts';
import { Follower } from './follower.ts';
import { newClient, placeOf } from './link.ts';
import { migrate } from './migrate.ts';
import { onSnapshot } from './snapshot.ts';
import { failureOf } from './sqlState.ts';
import { type Unit, Writer } from './writer.ts';

/** Most units that share one transaction: the more, the likelier another process is in the way of one. */
const GROUP_LIMIT = 64;

export interface PostgresOptions {
  /** postgres://…; may hold a password, and is neither logged nor told. */
  url: string;
  /** Names this process among its replicas, for good: its chain of the audit. */
  replica: string;
  log: Logger;
}

/** The repository over a PostgreSQL database that several stores share: each follows what the others commit. */
export class PostgresRepository implements Repository {
  readonly chain: string;
  readonly #url: string;
  readonly #name: string;
  readonly #writer: Writer;
  readonly #follower: Follower;
  readonly #listeners: ((changes: readonly Change[]) => void)[] = [];
  readonly #detached: (() => void)[] = [];
  #queue: Unit[] = [];
  #running: Promise<void> | undefined;

  private constructor(options: PostgresOptions) {
    const { log, replica, url } = options;
    const name = `sidekey ${replica}`;
    this.chain = replica;
    this.#url = url;
    this.#name = name;
    const tell = (changes: readonly Change[]) => {
      for (const listener of this.#listeners) listener(changes);
    };
    const detached = () => {
      for (const listener of this.#detached) listener();
    };
    this.#follower = new Follower({ url, name, log, tell, detached });
    const committed: ConstructorParameters<typeof Writer>[0]['committed'] = async ({ audit, logged, settle }) => {
      await this.#follower.committed(logged);
      if (audit.length > 0) tell(audit);
      settle();
    };
    this.#writer = new Writer({ url, name, log, chain: replica, committed });
  }

  /** Brings the tables up to date and connects. @throws DatabaseUnreachable, DatabaseTooNew */
  static async open(options: PostgresOptions): Promise<PostgresRepository> {
    const client = newClient(options.url, `sidekey ${options.replica}`, { answerLimitMs: 0 });
    client.on('error', () => {}); // What was under way says so too.
    try {
      await client.connect();
      await migrate(client);
    } catch (error) {
      if (storeErrorCode(error) !== undefined) throw error;
      const what = failureOf(error) === 'connection' ? 'cannot be reached' : 'refuses the store';
      throw storeError(
        'DatabaseUnreachable',
        `The PostgreSQL server at ${placeOf(options.url)} ${what}: ${errorText(error)}.`,
      );
    } finally {
      client.end().catch(() => {});
    }
    return new PostgresRepository(options);
  }

  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ work, resolve, reject });
      this.#running ??= this.#drain();
    });
  }

  snapshot<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return onSnapshot(this.#url, this.#name, this.chain, work);
  }

  load(): Promise<Snapshot> {
    return this.#follower.load();
  }

  caughtUp(): Promise<void> {
    return this.#follower.pull();
  }

  async holdWork(name: string, seconds: number): Promise<boolean> {
    try {
      const client = await this.#follower.client();
      const { rowCount } = await client.query(
        `INSERT INTO work AS w (name, holder, until) VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second')
           ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
           WHERE w.holder = excluded.holder OR w.until < clock_timestamp()`,
        [name, this.chain, seconds],
      );
      return rowCount === 1;
    } catch (error) {
      throw storeError('StorageFailed', undefined, { cause: error });
    }
  }

  onCommit(listener: (changes: readonly Change[]) => void): void {
    this.#listeners.push(listener);
    this.#follower.start();
  }

  onDetached(listener: () => void): void {
    this.#detached.push(listener);
  }

  async close(): Promise<void> {
    await this.#running;
    await Promise.all([this.#writer.close(), this.#follower.close()]);
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      // Lets all requests of this turn of the event loop into the group.
      await new Promise((resolve) => setImmediate(resolve));
      const group = this.#queue.slice(0, GROUP_LIMIT);
      this.#queue = this.#queue.slice(GROUP_LIMIT);
      await this.#writer.run(group);
    }
    this.#running = undefined;
  }
}
