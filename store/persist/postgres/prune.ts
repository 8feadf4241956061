import { sql } from 'kysely';
import { build } from './schema.ts';
import type { PostgresStatements } from './statements.ts';
import { addPruned } from './tables/leases.ts';

/** How long a change can be read by those who fell behind; after that they read everything anew. */
const CHANGES_KEPT = '10 minutes';

/** Forgets what was over before then, and old changes. */
export function prune(db: PostgresStatements, beforeMs: number): void {
  const over = build.selectFrom('leases').where('expires_at_ms', '<', beforeMs).groupBy(['credential', 'version']);
  const counts = over.select(['credential', 'version', build.fn.countAll<number>().as('count')]);
  db.write(addPruned.columns(['credential', 'version', 'count']).expression(counts));
  db.write(build.deleteFrom('leases').where('expires_at_ms', '<', beforeMs));
  db.write(
    build
      .deleteFrom('pruned_leases')
      .using('versions')
      .whereRef('versions.credential', '=', 'pruned_leases.credential')
      .whereRef('pruned_leases.version', '<', 'versions.last'),
  );
  db.write(build.deleteFrom('join_tokens').where('expires_at_ms', '<', beforeMs));
  db.write(build.deleteFrom('identities').where('expires_at_ms', '<', beforeMs));
  db.write(
    build
      .deleteFrom('sessions')
      .where('ended_at_ms', '<', beforeMs)
      .where(({ exists, not, selectFrom }) =>
        not(exists(selectFrom('identities').select('serial').whereRef('session_id', '=', 'sessions.id'))),
      )
      .where(({ exists, not, selectFrom }) =>
        not(exists(selectFrom('leases').select('leases.id').whereRef('session_id', '=', 'sessions.id'))),
      ),
  );
  db.write(
    sql`WITH gone AS (DELETE FROM changes WHERE at < now() - ${CHANGES_KEPT}::interval RETURNING id)
      UPDATE changes_forgotten SET upto = last FROM (SELECT max(id) AS last FROM gone) AS g WHERE last > upto`,
  );
}
