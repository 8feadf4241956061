import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import type { Logger } from '../../../lib/log.ts';
import { storeError, storeErrorCode } from '../../errors.ts';
import type { Change, Transaction } from '../repository.ts';
import { commitWith, type LoggedChange, type NumberedChange } from './changes.ts';
import { Link } from './link.ts';
import { failureOf } from './sqlState.ts';
import { PostgresTransaction } from './transaction.ts';

/** How often a group is tried again as a whole when others are in its way; then each of its units alone. */
const GROUP_TRIES = 3;
const UNIT_TRIES = 12;
/** Pause after the first conflict; it doubles. */
const CONFLICT_PAUSE_MS = 2;
const CONFLICT_PAUSE_LIMIT_MS = 100;
/** How often a transaction is started anew that a lost connection has undone. */
const LOSS_TRIES = 3;
/** How long a transaction waits for a connection. */
const CONNECT_MS = 1_000;
/** How long it is asked what became of a commit that was not answered. */
const ASK_MS = 4_000;
/** Changes among which those of a commit of that age are. */
const LATEST = 10_000;

/** A transaction whose commit was sent. */
interface Sent {
  /** As pg_current_xact_id() says it. */
  id: string;
  chain: string;
  changes: readonly Change[];
}

export interface Unit {
  work: (tx: Transaction) => Promise<unknown>;
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

/** What a committed group leaves: whom to tell what. */
export interface Committed {
  /** Undefined if their numbers are not known: they are in the log. */
  logged: NumberedChange[] | undefined;
  /** Of the own chain of the audit: for this process alone. */
  audit: Change[];
  settle: () => void;
}

/** Runs groups of units over one connection, each group in one SERIALIZABLE transaction, each unit under a savepoint of its own. */
export class Writer {
  readonly #link: Link;
  readonly #chain: string;
  readonly #committed: (committed: Committed) => Promise<void>;
  /** End of the own chain, as of the last commit. */
  #end: { seq: number; hash: string } | undefined;

  constructor(options: {
    url: string;
    name: string;
    log: Logger;
    chain: string;
    committed: (committed: Committed) => Promise<void>;
  }) {
    this.#chain = options.chain;
    this.#committed = options.committed;
    this.#link = new Link({
      ...options,
      setup: async (client) => {
        // Whoever reads a whole table conflicts with all who write it: small tables are read by their indexes too.
        await client.query('SET enable_seqscan = off');
      },
    });
  }

  async run(group: readonly Unit[]): Promise<void> {
    let losses = 0;
    const tries = group.length > 1 ? GROUP_TRIES : UNIT_TRIES;
    for (let conflicts = 0; ; ) {
      try {
        await this.#committed(await this.#attempt(group));
        return;
      } catch (error) {
        this.#end = undefined;
        const failure = storeErrorCode(error) === undefined ? failureOf(error) : 'other';
        if (failure === 'connection' && losses < LOSS_TRIES) losses += 1;
        else if (failure === 'conflict' && conflicts < tries) {
          await pause(conflicts);
          conflicts += 1;
        } else if (failure === 'conflict' && group.length > 1) {
          for (const unit of group) await this.run([unit]);
          return;
        } else {
          const told =
            storeErrorCode(error) === undefined ? storeError('StorageFailed', undefined, { cause: error }) : error;
          for (const unit of group) unit.reject(told);
          return;
        }
      }
    }
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  /** @throws what kept the group from being committed: nothing of it remains then */
  async #attempt(group: readonly Unit[]): Promise<Committed> {
    const client = await this.#link.get(CONNECT_MS);
    const tx = new PostgresTransaction({ client, chain: this.#chain, end: this.#end });
    const { statements } = tx;
    try {
      statements.send('BEGIN ISOLATION LEVEL SERIALIZABLE');
      const id = tx.id();
      id.catch(() => {}); // Then there are others that say so.
      const settled: (() => void)[] = [];
      for (const unit of group) settled.push(await runUnit(tx, unit));
      tx.finish();
      const failure = await statements.settle();
      if (failure !== undefined) throw failure;
      const { changes } = statements;
      const logged = changes.filter((change): change is LoggedChange => change.kind !== 'audit');
      const numbered = await this.#commit(client, { id: await id, chain: this.#chain, changes }, logged);
      this.#end = tx.end;
      return {
        logged: numbered,
        audit: changes.filter((change) => change.kind === 'audit'),
        settle: () => {
          for (const settle of settled) settle();
        },
      };
    } catch (error) {
      await this.#abandon(client, error);
      throw error;
    }
  }

  /** Commits; if the answer to that is lost, asks over another connection what became of it. */
  async #commit(
    client: Client,
    transaction: Sent,
    changes: readonly LoggedChange[],
  ): Promise<NumberedChange[] | undefined> {
    try {
      return await commitWith(client, changes);
    } catch (error) {
      if (failureOf(error) !== 'connection') throw error;
      this.#link.drop(client);
      if (!(await this.#wasCommitted(transaction))) throw error;
      return undefined;
    }
  }

  /** @throws StorageFailed if nobody can tell */
  async #wasCommitted(transaction: Sent): Promise<boolean> {
    const untilMs = performance.now() + ASK_MS;
    for (;;) {
      const client = await this.#link.get(Math.max(1, untilMs - performance.now()));
      let status: unknown;
      try {
        const sql = 'SELECT pg_xact_status($1::xid8) AS status';
        status = (await client.query(sql, [transaction.id])).rows[0]?.status;
        if (status === 'committed') return await isOurs(client, transaction);
      } catch {
        this.#link.drop(client);
      }
      if (status === 'aborted') return false;
      if (performance.now() > untilMs)
        throw storeError(
          'StorageFailed',
          'The database was lost in the middle of a commit; look before you try again.',
        );
      await delay(50);
    }
  }

  async #abandon(client: Client, error: unknown): Promise<void> {
    if (storeErrorCode(error) === undefined && failureOf(error) !== 'connection') {
      try {
        await client.query('ROLLBACK');
        return;
      } catch {
        // Then the connection goes too.
      }
    }
    this.#link.drop(client);
  }
}

/**
 * Whether it is that transaction which has committed under its number. A server that crashed, or a standby that was promoted, before it had
 * heard of the number gives it to another.
 */
async function isOurs(client: Client, { chain, changes, id }: Sent): Promise<boolean> {
  const entry = changes.findLast((change) => change.kind === 'audit');
  if (entry?.kind === 'audit') {
    const { hash, seq } = entry.head;
    const found = await client.query('SELECT 1 FROM audit WHERE chain = $1 AND seq = $2 AND hash = $3', [
      chain,
      seq,
      hash,
    ]);
    return found.rowCount === 1;
  }
  const [logged] = changes;
  if (logged === undefined) return true; // Nothing that anybody is told of.
  const sql = `SELECT 1 FROM (SELECT xmin, change FROM changes ORDER BY id DESC LIMIT ${LATEST}) AS latest
    WHERE xmin::text = ($1::numeric % 4294967296)::text AND change = $2`;
  return (await client.query(sql, [id, JSON.stringify(logged)])).rowCount === 1;
}

/** Runs one unit under a savepoint. @throws what fails the whole group */
async function runUnit(tx: PostgresTransaction, unit: Unit): Promise<() => void> {
  const { statements, tables } = tx;
  const mark = tx.mark();
  statements.send('SAVEPOINT unit');
  let outcome: () => void;
  let isWhole = false;
  try {
    const value = (await unit.work(tables)) as never;
    isWhole = true;
    outcome = () => unit.resolve(value);
  } catch (error) {
    outcome = () => unit.reject(error);
  }
  const failure = await statements.settle();
  if (failure !== undefined) {
    if (failureOf(failure) !== 'own') throw failure;
    outcome = () => unit.reject(storeError('StorageFailed', undefined, { cause: failure }));
  }
  if (!isWhole || failure !== undefined) {
    tx.backTo(mark);
    statements.send('ROLLBACK TO unit');
  }
  statements.send('RELEASE unit');
  return outcome;
}

function pause(conflicts: number): Promise<void> {
  const limitMs = Math.min(CONFLICT_PAUSE_LIMIT_MS, CONFLICT_PAUSE_MS * 2 ** conflicts);
  return delay(limitMs * (0.5 + 0.5 * Math.random()));
}
