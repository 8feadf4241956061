import type { Transaction } from '../../repository.ts';
import { bytes } from '../../rows.ts';
import type { SqliteStatements } from '../statements.ts';

export function metaTable(db: SqliteStatements): Transaction['meta'] {
  return {
    async get(name) {
      const row = db.get('SELECT value FROM meta WHERE name = ?', name);
      return row && bytes(row.value);
    },
    async set(name, value) {
      writeMeta(db, name, value);
      db.changes.push({ kind: 'meta', name });
    },
    async delete(name) {
      db.run('DELETE FROM meta WHERE name = ?', name);
      db.changes.push({ kind: 'meta', name });
    },
    async names(prefix) {
      const sql = 'SELECT name FROM meta WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name';
      return db.all(sql, prefix).map((row) => String(row.name));
    },
  };
}

/** Counts as no change of meta. */
export function writeMeta(db: SqliteStatements, name: string, value: Buffer): void {
  db.run('INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value', name, value);
}
