import type { Transaction } from '../repository.ts';
import type { SqliteStatements } from './statements.ts';
import { identityTable, joinTokenTable, revocationTable, sessionTable } from './tables/access.ts';
import { auditTable } from './tables/audit.ts';
import { leaseTable } from './tables/leases.ts';
import { dataKeyTable, materialTable } from './tables/materials.ts';
import { metaTable } from './tables/meta.ts';
import { objectTable } from './tables/objects.ts';

/** The tables over one connection, for all its transactions; what one of them changes gathers in `db`. */
export function sqliteTables(db: SqliteStatements): Transaction {
  const meta = metaTable(db);
  return {
    meta,
    credentials: objectTable(db, 'credentials', (key, record) => ({ kind: 'credential', key, record })),
    integrations: objectTable(db, 'integrations', (key, record) => ({ kind: 'integration', key, record })),
    dataKeys: dataKeyTable(db),
    materials: materialTable(db),
    sessions: sessionTable(db),
    identities: identityTable(db),
    revocations: revocationTable(db),
    leases: leaseTable(db),
    joinTokens: joinTokenTable(db),
    audit: auditTable(db, meta),
    prune: async (beforeMs) => prune(db, beforeMs),
  };
}

function prune(db: SqliteStatements, beforeMs: number): void {
  db.run(
    `INSERT INTO pruned_leases SELECT credential, version, count(*) FROM leases WHERE expires_at_ms < ?
       GROUP BY credential, version ON CONFLICT DO UPDATE SET count = count + excluded.count`,
    beforeMs,
  );
  db.run('DELETE FROM leases WHERE expires_at_ms < ?', beforeMs);
  db.run(
    `DELETE FROM pruned_leases WHERE version <
       (SELECT last FROM versions WHERE versions.credential = pruned_leases.credential)`,
  );
  db.run('DELETE FROM join_tokens WHERE expires_at_ms < ?', beforeMs);
  db.run('DELETE FROM identities WHERE expires_at_ms < ?', beforeMs);
  db.run(
    `DELETE FROM sessions WHERE ended_at_ms < ?
       AND NOT EXISTS (SELECT 1 FROM identities WHERE session_id = sessions.id)
       AND NOT EXISTS (SELECT 1 FROM leases WHERE session_id = sessions.id)`,
    beforeMs,
  );
}
