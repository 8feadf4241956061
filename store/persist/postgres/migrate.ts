import type { Client } from 'pg';
import { storeError } from '../../errors.ts';
import { MIGRATIONS } from './migrations.ts';

/** Key of the advisory lock that one migrating process holds; the changes log has the next one. */
const MIGRATION_LOCK = 0x51de_0001;
/** How many versions newer than ours the tables may be: their processes keep what the version before them needs. */
const NEWER = 1;

/**
 * Brings the tables up to date, one process at a time.
 *
 * @throws DatabaseTooNew if they are of a version that does not care for this one any more.
 */
export async function migrate(client: Client, steps: readonly string[] = MIGRATIONS): Promise<void> {
  await client.query('SET statement_timeout = 0; SET lock_timeout = 0');
  await client.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
  try {
    await client.query(`CREATE TABLE IF NOT EXISTS schema_versions (
      version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`);
    const version = await schemaVersion(client);
    if (version > steps.length + NEWER) {
      throw storeError(
        'DatabaseTooNew',
        `The database has schema ${version}, this version of Sidekey knows ${steps.length} and takes ${steps.length + NEWER}; use a newer version.`,
      );
    }
    for (const [index, step] of steps.entries()) {
      if (index < version) continue;
      // One simple query: all of it or nothing.
      await client.query(`BEGIN; ${step} INSERT INTO schema_versions (version) VALUES (${index + 1}); COMMIT`);
    }
  } finally {
    await client.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]).catch(() => {});
  }
}

async function schemaVersion(client: Client): Promise<number> {
  const { rows } = await client.query('SELECT coalesce(max(version), 0) AS version FROM schema_versions');
  return Number(rows[0].version);
}
