import type { Change, ObjectTable } from '../../repository.ts';
import { objectOf, recordOf } from '../../rows.ts';
import type { SqliteStatements } from '../statements.ts';

/** `change` says what a write has changed. */
export function objectTable<R>(
  db: SqliteStatements,
  table: 'credentials' | 'integrations',
  change: (key: string, record: R | undefined) => Change,
): ObjectTable<R> {
  const select = `SELECT record FROM ${table} WHERE key = ?`;
  const upsert = `INSERT INTO ${table} VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET record = excluded.record`;
  const remove = `DELETE FROM ${table} WHERE key = ?`;
  const after = `SELECT key, record FROM ${table} WHERE key > ? ORDER BY key LIMIT ?`;
  return {
    async get(key) {
      const row = db.get(select, key);
      return row && recordOf(row);
    },
    async put(key, record) {
      db.run(upsert, key, JSON.stringify(record));
      db.changes.push(change(key, record));
    },
    async delete(key) {
      db.run(remove, key);
      db.changes.push(change(key, undefined));
    },
    page: async (afterKey, limit) => db.all(after, afterKey, limit).map(objectOf),
  };
}
