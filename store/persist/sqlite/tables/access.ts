import type { Transaction } from '../../repository.ts';
import { joinTokenOf, recordOf } from '../../rows.ts';
import type { SqliteStatements } from '../statements.ts';

export function sessionTable(db: SqliteStatements): Transaction['sessions'] {
  return {
    async put(session) {
      db.run('INSERT INTO sessions VALUES (?, ?, NULL)', session.id, JSON.stringify(session));
      db.changes.push({ kind: 'session', session });
    },
    async change(session) {
      const sql = 'UPDATE sessions SET record = ? WHERE id = ? AND ended_at_ms IS NULL';
      if (db.run(sql, JSON.stringify(session), session.id) === 0) return false;
      db.changes.push({ kind: 'session', session });
      return true;
    },
    async end(session, atMs, reason) {
      const sql = 'UPDATE sessions SET ended_at_ms = ? WHERE id = ? AND ended_at_ms IS NULL';
      if (db.run(sql, atMs, session.id) === 0) return false;
      db.changes.push({ kind: 'session', session, endReason: reason });
      return true;
    },
  };
}

export function identityTable(db: SqliteStatements): Transaction['identities'] {
  return {
    async put(identity) {
      const { serial, fingerprint, kind, sessionId = null, expiresAtMs } = identity;
      db.run('INSERT INTO identities VALUES (?, ?, ?, ?, ?)', serial, fingerprint, kind, sessionId, expiresAtMs);
      db.changes.push({ kind: 'identity', identity });
    },
  };
}

export function revocationTable(db: SqliteStatements): Transaction['revocations'] {
  return {
    all: async () => db.all('SELECT record FROM revocations ORDER BY id').map(recordOf),
    async put(revocation) {
      const { id } = revocation;
      const sql = 'INSERT INTO revocations VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record';
      db.run(sql, id, JSON.stringify(revocation));
      db.changes.push({ kind: 'revocation', id, revocation });
    },
    async delete(id) {
      db.run('DELETE FROM revocations WHERE id = ?', id);
      db.changes.push({ kind: 'revocation', id, revocation: undefined });
    },
  };
}

export function joinTokenTable(db: SqliteStatements): Transaction['joinTokens'] {
  return {
    async put(digest, { invitation, expiresAtMs }) {
      db.run('INSERT INTO join_tokens VALUES (?, ?, ?)', digest, JSON.stringify(invitation), expiresAtMs);
    },
    async take(digest, nowMs) {
      const row = db.get('DELETE FROM join_tokens WHERE digest = ? RETURNING invitation, expires_at_ms', digest);
      const token = row && joinTokenOf(row);
      return token && token.expiresAtMs > nowMs ? token : undefined;
    },
    count: async (nowMs) =>
      Number(db.get('SELECT count(*) AS count FROM join_tokens WHERE expires_at_ms > ?', nowMs)?.count),
  };
}
