import type { Client } from 'pg';
import { storeError } from '../../errors.ts';
import type { Snapshot, Transaction } from '../repository.ts';
import { identityOf, materialHead, objectOf, type Row, recordOf } from '../rows.ts';
import { newClient } from './link.ts';
import { sqlState } from './sqlState.ts';
import { PostgresTransaction } from './transaction.ts';

export interface SnapshotAt {
  snapshot: Snapshot;
  /** Number of the last change that is in it. */
  cursor: number;
  metaNames: string[];
}

/** All that is kept in memory, read at one moment. */
export function readSnapshot(url: string, name: string): Promise<SnapshotAt> {
  return connected(url, name, readAll);
}

/** Runs `work`, which only reads, on what was committed at one moment. */
export async function onSnapshot<T>(
  url: string,
  name: string,
  chain: string,
  work: (tx: Transaction) => Promise<T>,
): Promise<T> {
  try {
    return await connected(url, name, async (client) => {
      await client.query('SET idle_in_transaction_session_timeout = 0');
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      // Its moment is that of its first statement.
      await client.query('SELECT 1');
      return work(new PostgresTransaction({ client, chain, end: undefined }).tables);
    });
  } catch (error) {
    if (sqlState(error) === undefined) throw error;
    throw storeError('StorageFailed', undefined, { cause: error });
  }
}

/** Over a connection of its own. */
async function connected<T>(url: string, name: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = newClient(url, name, { answerLimitMs: 0 });
  const lost = new Promise<never>((_, reject) => client.on('error', reject));
  lost.catch(() => {});
  try {
    await client.connect();
    return await Promise.race([work(client), lost]);
  } finally {
    client.end().catch(() => {});
  }
}

async function readAll(client: Client): Promise<SnapshotAt> {
  const all = async (sql: string): Promise<Row[]> => (await client.query(sql)).rows;
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  const [last] = await all(
    'SELECT greatest((SELECT max(id) FROM changes), (SELECT upto FROM changes_forgotten)) AS id',
  );
  const snapshot: Snapshot = {
    credentials: (await all('SELECT key, record FROM credentials')).map(objectOf),
    integrations: (await all('SELECT key, record FROM integrations')).map(objectOf),
    materials: (
      await all(
        `SELECT DISTINCT ON (credential) credential, version, origin, fields, written_at_ms FROM materials
           ORDER BY credential, version DESC`,
      )
    ).map(materialHead),
    sessions: (await all('SELECT record FROM sessions WHERE ended_at_ms IS NULL')).map(recordOf),
    identities: (await all('SELECT * FROM identities')).map(identityOf),
    revocations: (await all('SELECT record FROM revocations')).map(recordOf),
  };
  const metaNames = (await all('SELECT name FROM meta')).map((row) => String(row.name));
  return { snapshot, cursor: Number(last?.id), metaNames };
}
