import type { Transaction } from '../../repository.ts';
import { leaseOf } from '../../rows.ts';
import type { SqliteStatements } from '../statements.ts';

export function leaseTable(db: SqliteStatements): Transaction['leases'] {
  return {
    async get(id) {
      const row = db.get('SELECT * FROM leases WHERE id = ?', id);
      return row && leaseOf(row);
    },
    async put({ id, sessionId, credential, version, issuedAtMs, expiresAtMs, endedAtMs = null }) {
      const sql = 'INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)';
      db.run(sql, id, sessionId, credential, version, issuedAtMs, expiresAtMs, endedAtMs);
    },
    async running(sessionId, nowMs) {
      const sql = `SELECT * FROM leases WHERE session_id = ? AND expires_at_ms > ? AND ended_at_ms IS NULL
        ORDER BY issued_at_ms, id`;
      return db.all(sql, sessionId, nowMs).map(leaseOf);
    },
    async end(id, atMs) {
      db.run('UPDATE leases SET ended_at_ms = ? WHERE id = ? AND ended_at_ms IS NULL', atMs, id);
    },
    async count(credential, version) {
      const sql = `SELECT (SELECT count(*) FROM leases WHERE credential = ?1 AND version = ?2)
        + coalesce((SELECT count FROM pruned_leases WHERE credential = ?1 AND version = ?2), 0) AS count`;
      return Number(db.get(sql, credential, version)?.count);
    },
    async tell(uses) {
      db.changes.push({ kind: 'uses', uses });
    },
    async addCount(credential, version, count) {
      const sql = `INSERT INTO pruned_leases VALUES (?, ?, ?)
        ON CONFLICT (credential, version) DO UPDATE SET count = count + excluded.count`;
      db.run(sql, credential, version, count);
    },
  };
}
