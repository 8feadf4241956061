import type { Transaction } from '../../repository.ts';
import { joinTokenOf, recordOf } from '../../rows.ts';
import { build } from '../schema.ts';
import type { PostgresStatements } from '../statements.ts';

export function sessionTable(db: PostgresStatements): Transaction['sessions'] {
  /** Whether it has not ended. */
  const update = async (id: string, row: { record: string } | { ended_at_ms: number }) => {
    const running = build.updateTable('sessions').set(row).where('id', '=', id).where('ended_at_ms', 'is', null);
    return (await db.get(running.returning('id'))) !== undefined;
  };
  return {
    async put(session) {
      db.write(build.insertInto('sessions').values({ id: session.id, record: JSON.stringify(session) }));
      db.changes.push({ kind: 'session', session });
    },
    async change(session) {
      if (!(await update(session.id, { record: JSON.stringify(session) }))) return false;
      db.changes.push({ kind: 'session', session });
      return true;
    },
    async end(session, atMs, reason) {
      if (!(await update(session.id, { ended_at_ms: atMs }))) return false;
      db.changes.push({ kind: 'session', session, endReason: reason });
      return true;
    },
  };
}

export function identityTable(db: PostgresStatements): Transaction['identities'] {
  return {
    async put(identity) {
      const { serial, fingerprint, kind, sessionId = null, expiresAtMs } = identity;
      const row = { serial, fingerprint, kind, session_id: sessionId, expires_at_ms: expiresAtMs };
      db.write(build.insertInto('identities').values(row));
      db.changes.push({ kind: 'identity', identity });
    },
  };
}

export function revocationTable(db: PostgresStatements): Transaction['revocations'] {
  return {
    all: async () => (await db.all(build.selectFrom('revocations').select('record').orderBy('id'))).map(recordOf),
    async put(revocation) {
      const { id } = revocation;
      const record = JSON.stringify(revocation);
      const insert = build.insertInto('revocations').values({ id, record });
      db.write(insert.onConflict((taken) => taken.column('id').doUpdateSet({ record })));
      db.changes.push({ kind: 'revocation', id, revocation });
    },
    async delete(id) {
      db.write(build.deleteFrom('revocations').where('id', '=', id));
      db.changes.push({ kind: 'revocation', id, revocation: undefined });
    },
  };
}

export function joinTokenTable(db: PostgresStatements): Transaction['joinTokens'] {
  return {
    async put(digest, { invitation, expiresAtMs }) {
      const row = { digest, invitation: JSON.stringify(invitation), expires_at_ms: expiresAtMs };
      db.write(build.insertInto('join_tokens').values(row));
    },
    async take(digest, nowMs) {
      const row = await db.get(build.deleteFrom('join_tokens').where('digest', '=', digest).returningAll());
      const token = row && joinTokenOf(row);
      return token && token.expiresAtMs > nowMs ? token : undefined;
    },
    async count(nowMs) {
      const waiting = build.selectFrom('join_tokens').where('expires_at_ms', '>', nowMs);
      return (await db.get(waiting.select(build.fn.countAll<number>().as('count'))))!.count;
    },
  };
}
