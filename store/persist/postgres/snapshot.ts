import type { Client } from 'pg';
import type { Snapshot } from '../repository.ts';
import { identityOf, materialHead, type Row } from '../rows.ts';
import { newClient } from './link.ts';

export interface SnapshotAt {
  snapshot: Snapshot;
  /** Number of the last change that is in it. */
  cursor: number;
  metaNames: string[];
}

/** All that is kept in memory, read at one moment, over a connection of its own. */
export async function readSnapshot(url: string, name: string): Promise<SnapshotAt> {
  const client = newClient(url, name, { answerLimitMs: 0 });
  const lost = new Promise<never>((_, reject) => client.on('error', reject));
  lost.catch(() => {});
  try {
    await client.connect();
    return await Promise.race([readAll(client), lost]);
  } finally {
    client.end().catch(() => {});
  }
}

async function readAll(client: Client): Promise<SnapshotAt> {
  const all = async (sql: string): Promise<Row[]> => (await client.query(sql)).rows;
  const objects = async (table: string) =>
    (await all(`SELECT key, record FROM ${table}`)).map((row) => ({ key: String(row.key), record: recordOf(row) }));
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  const [last] = await all(
    'SELECT greatest((SELECT max(id) FROM changes), (SELECT upto FROM changes_forgotten)) AS id',
  );
  const snapshot: Snapshot = {
    credentials: await objects('credentials'),
    integrations: await objects('integrations'),
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

function recordOf(row: Row) {
  return JSON.parse(String(row.record));
}
