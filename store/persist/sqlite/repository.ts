import type { DatabaseSync } from 'node:sqlite';
import { errorText } from '../../../lib/errors.ts';
import { storeError } from '../../errors.ts';
import { type Change, type Repository, type Snapshot, SOLE_CHAIN, type Transaction } from '../repository.ts';
import { identityOf, materialHead, objectOf, type Row, recordOf } from '../rows.ts';
import { copyDatabase, isSoonCopied } from './copy.ts';
import { closeDatabase, isFatal, isOwnFault, sqliteCode } from './database.ts';
import { SqliteStatements } from './statements.ts';
import { sqliteTables } from './transaction.ts';

/** Most transactions that share one commit, so that the first of them does not wait long. */
const GROUP_LIMIT = 256;
/** How often a copy of the database is begun. */
const COPY_TRIES = 3;

interface Unit {
  work: (tx: Transaction) => Promise<unknown>;
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

export interface SqliteOptions {
  /** From openDatabase; the repository closes it. */
  db: DatabaseSync;
  path: string;
  /** Called once when the database can no longer be trusted: the process must end and start anew. */
  fatal: (error: Error) => void;
}

/**
 * The repository over one SQLite file. Transactions that wait at the same time run one after the other, each under its own
 * savepoint, and share one COMMIT: one fsync for all of them.
 */
export class SqliteRepository implements Repository {
  readonly chain = SOLE_CHAIN;
  readonly #options: SqliteOptions;
  readonly #db: DatabaseSync;
  readonly #statements: SqliteStatements;
  readonly #tx: Transaction;
  readonly #listeners: ((changes: readonly Change[]) => void)[] = [];
  #queue: Unit[] = [];
  #running: Promise<void> | undefined;
  #snapshots: Promise<unknown> = Promise.resolve();
  /** While a copy of the database comes to its end. */
  #pause: Promise<void> | undefined;
  /** While a group is under way. */
  #committing: Promise<void> | undefined;
  #failed = false;

  constructor(options: SqliteOptions) {
    this.#options = options;
    this.#db = options.db;
    this.#statements = new SqliteStatements(this.#db);
    this.#tx = sqliteTables(this.#statements);
  }

  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#queue.push({ work, resolve, reject });
      this.#running ??= this.#drain();
    });
  }

  onCommit(listener: (changes: readonly Change[]) => void): void {
    this.#listeners.push(listener);
  }

  /** One after the other, on a copy that is made beside the transactions; only its end holds them up. */
  snapshot<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const mine = this.#snapshots.then(() => this.#onCopy(work));
    this.#snapshots = mine.catch(() => {});
    return mine;
  }

  async load(): Promise<Snapshot> {
    const all = (sql: string) => this.#db.prepare(sql).all() as Row[];
    return {
      credentials: all('SELECT key, record FROM credentials').map(objectOf),
      integrations: all('SELECT key, record FROM integrations').map(objectOf),
      materials: all(
        'SELECT credential, max(version) AS version, origin, fields, written_at_ms FROM materials GROUP BY credential',
      ).map(materialHead),
      sessions: all('SELECT record FROM sessions WHERE ended_at_ms IS NULL').map(recordOf),
      identities: all('SELECT * FROM identities').map(identityOf),
      revocations: all('SELECT record FROM revocations').map(recordOf),
    };
  }

  /** There is no other process. */
  async caughtUp(): Promise<void> {}

  async holdWork(): Promise<boolean> {
    return true;
  }

  onDetached(): void {}

  /** The write-ahead log holds pages as they were before secure_delete overwrote them. */
  async compact(): Promise<void> {
    while (this.#running !== undefined) await this.#running;
    try {
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch (error) {
      // One that is in use is left for the next time.
      if (isFatal(error)) throw this.#failure(error);
    }
  }

  async close(): Promise<void> {
    await this.#snapshots;
    await this.#running;
    closeDatabase(this.#db, this.#options.path);
  }

  async #onCopy<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const copy = await this.#copy();
    try {
      return await work(sqliteTables(new SqliteStatements(copy)));
    } finally {
      copy.close();
    }
  }

  /** A transaction that is open when the copy comes to its end would be half in it: that copy is made anew, and the last one while nobody writes. */
  async #copy(): Promise<DatabaseSync> {
    for (let tries = 1; ; tries += 1) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const pause = () => {
        this.#pause = promise;
      };
      try {
        if (tries === COPY_TRIES || isSoonCopied(this.#db)) {
          pause();
          await this.#committing;
        }
        return await copyDatabase(this.#db, `${this.#options.path}.snapshot`, pause);
      } catch (error) {
        if (tries === COPY_TRIES) throw storeError('StorageFailed', undefined, { cause: error });
      } finally {
        this.#pause = undefined;
        resolve();
      }
    }
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) {
      // Lets all requests of this turn of the event loop into the group; the pause may have begun meanwhile.
      do {
        await this.#pause;
        await new Promise((resolve) => setImmediate(resolve));
      } while (this.#pause !== undefined);
      const group = this.#queue.slice(0, GROUP_LIMIT);
      this.#queue = this.#queue.slice(GROUP_LIMIT);
      this.#committing = this.#commit(group);
      await this.#committing;
    }
    this.#running = undefined;
  }

  async #commit(group: Unit[]): Promise<void> {
    const settled: (() => void)[] = [];
    this.#statements.changes = [];
    try {
      if (this.#failed) throw new Error('the database failed before');
      this.#db.exec('BEGIN IMMEDIATE');
      for (const unit of group) settled.push(await this.#run(unit));
      this.#db.exec('COMMIT');
    } catch (error) {
      this.#rollback();
      const failure = this.#failure(error);
      for (const unit of group) unit.reject(failure);
      return;
    }
    const { changes } = this.#statements;
    if (changes.length > 0) for (const listener of this.#listeners) listener(changes);
    for (const settle of settled) settle();
  }

  /** Runs one unit under a savepoint. @throws what SQLite throws if it cannot go on: the whole group fails then. */
  async #run(unit: Unit): Promise<() => void> {
    const changesBefore = this.#statements.changes.length;
    this.#db.exec('SAVEPOINT unit');
    try {
      const value = (await unit.work(this.#tx)) as never;
      this.#db.exec('RELEASE unit');
      return () => unit.resolve(value);
    } catch (error) {
      const ofDatabase = sqliteCode(error) !== undefined;
      if (ofDatabase && !isOwnFault(error)) throw error;
      this.#db.exec('ROLLBACK TO unit; RELEASE unit');
      this.#statements.changes.length = changesBefore;
      return () => unit.reject(ofDatabase ? storeError('StorageFailed', undefined, { cause: error }) : error);
    }
  }

  #rollback(): void {
    try {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
    } catch {
      // A statement that failed for want of space has rolled back by itself.
    }
  }

  #failure(error: unknown): Error {
    const failure = storeError('StorageFailed', undefined, { cause: error });
    if (isFatal(error) && !this.#failed) {
      this.#failed = true;
      this.#options.fatal(new Error(`the database failed: ${errorText(error)}`, { cause: error }));
    }
    return failure;
  }
}
