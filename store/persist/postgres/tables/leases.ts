import type { Transaction } from '../../repository.ts';
import { leaseOf } from '../../rows.ts';
import { build } from '../schema.ts';
import type { PostgresStatements } from '../statements.ts';

/** Adds to what is counted already. */
export const addPruned = build
  .insertInto('pruned_leases')
  .onConflict((taken) =>
    taken
      .columns(['credential', 'version'])
      .doUpdateSet((row) => ({ count: row('pruned_leases.count', '+', row.ref('excluded.count')) })),
  );

export function leaseTable(db: PostgresStatements): Transaction['leases'] {
  return {
    async get(id) {
      const row = await db.get(build.selectFrom('leases').selectAll().where('id', '=', id));
      return row && leaseOf(row);
    },
    async put({ id, sessionId, credential, version, issuedAtMs, expiresAtMs, endedAtMs = null }) {
      const times = { issued_at_ms: issuedAtMs, expires_at_ms: expiresAtMs, ended_at_ms: endedAtMs };
      db.write(build.insertInto('leases').values({ id, session_id: sessionId, credential, version, ...times }));
    },
    async running(sessionId, nowMs) {
      const given = build.selectFrom('leases').selectAll().where('session_id', '=', sessionId);
      const running = given.where('expires_at_ms', '>', nowMs).where('ended_at_ms', 'is', null);
      return (await db.all(running.orderBy('issued_at_ms').orderBy('id'))).map(leaseOf);
    },
    async end(id, atMs) {
      const running = build.updateTable('leases').set({ ended_at_ms: atMs }).where('id', '=', id);
      db.write(running.where('ended_at_ms', 'is', null));
    },
    async count(credential, version) {
      const kept = build.selectFrom('leases').select(build.fn.count<number>('id').as('count'));
      const pruned = build.selectFrom('pruned_leases').select('count');
      const [now, before] = await Promise.all([
        db.get(kept.where('credential', '=', credential).where('version', '=', version)),
        db.get(pruned.where('credential', '=', credential).where('version', '=', version)),
      ]);
      return (now?.count ?? 0) + (before?.count ?? 0);
    },
    async tell(uses) {
      db.changes.push({ kind: 'uses', uses });
    },
    async addCount(credential, version, count) {
      db.write(addPruned.values({ credential, version, count }));
    },
  };
}
