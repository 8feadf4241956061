import type { Transaction } from '../../repository.ts';
import { bytes, materialHead, versionGoesBack, wrappedKey } from '../../rows.ts';
import type { SqliteStatements } from '../statements.ts';

export function dataKeyTable(db: SqliteStatements): Transaction['dataKeys'] {
  return {
    async get(credential) {
      const row = db.get('SELECT kek_id, wrapped FROM data_keys WHERE credential = ?', credential);
      return row && wrappedKey(row);
    },
    async put(credential, { kekId, wrapped }) {
      const sql = `INSERT INTO data_keys VALUES (?, ?, ?)
         ON CONFLICT (credential) DO UPDATE SET kek_id = excluded.kek_id, wrapped = excluded.wrapped`;
      db.run(sql, credential, kekId, wrapped);
    },
    async page(afterCredential, limit) {
      const sql = 'SELECT * FROM data_keys WHERE credential > ? ORDER BY credential LIMIT ?';
      const rows = db.all(sql, afterCredential, limit);
      return rows.map((row) => ({ credential: String(row.credential), key: wrappedKey(row) }));
    },
  };
}

export function materialTable(db: SqliteStatements): Transaction['materials'] {
  return {
    async newest(credential) {
      const row = db.get('SELECT * FROM materials WHERE credential = ? ORDER BY version DESC LIMIT 1', credential);
      return row && { ...materialHead(row), sealed: bytes(row.sealed) };
    },
    lastVersion: async (credential) =>
      Number(db.get('SELECT last FROM versions WHERE credential = ?', credential)?.last ?? 0),
    async put({ sealed, ...head }) {
      const { credential, version, origin, fields, writtenAtMs } = head;
      const insert = 'INSERT INTO materials VALUES (?, ?, ?, ?, ?, ?)';
      db.run(insert, credential, version, origin, JSON.stringify(fields), sealed, writtenAtMs);
      const count = `INSERT INTO versions VALUES (?, ?)
         ON CONFLICT (credential) DO UPDATE SET last = excluded.last WHERE last < excluded.last`;
      if (db.run(count, credential, version) === 0) throw versionGoesBack(head);
      db.changes.push({ kind: 'material', key: credential, head });
    },
    async deleteBefore(credential, version) {
      db.run('DELETE FROM materials WHERE credential = ? AND version < ?', credential, version);
    },
    async delete(credential) {
      db.run('DELETE FROM materials WHERE credential = ?', credential);
      db.run('DELETE FROM data_keys WHERE credential = ?', credential);
      db.changes.push({ kind: 'material', key: credential, head: undefined });
    },
  };
}
