import { sql } from 'kysely';
import type { AuditHead } from '../../../../api/admin.ts';
import type { Transaction } from '../../repository.ts';
import { AUDIT_HEAD, auditEntryOf } from '../../rows.ts';
import { build } from '../schema.ts';
import type { PostgresStatements } from '../statements.ts';
import { writeMeta } from './meta.ts';

export interface ChainEnd {
  seq: number;
  hash: string;
}

/** The chain that this process alone appends to, as the transaction leaves it. */
export interface OwnChain {
  readonly name: string;
  /** As far as it is known: then it need not be read. */
  end: ChainEnd | undefined;
  /** If there is a new one; written once, at the end. */
  head: AuditHead | undefined;
}

export function auditTable(db: PostgresStatements, meta: Transaction['meta'], own: OwnChain): Transaction['audit'] {
  const end = async (chain: string) => {
    if (chain === own.name && own.end !== undefined) return own.end;
    const entries = build.selectFrom('audit').select(['seq', 'hash']).where('chain', '=', chain);
    return db.get(entries.orderBy('seq', 'desc').limit(1));
  };
  return {
    end,
    async chains() {
      // One look into the index for each chain, not one for each entry.
      const chains = sql<{ chain: string }>`WITH RECURSIVE found AS (
          SELECT min(chain) AS chain FROM audit
          UNION ALL SELECT (SELECT min(chain) FROM audit WHERE chain > found.chain) FROM found WHERE found.chain IS NOT NULL
        ) SELECT chain FROM found WHERE chain IS NOT NULL`;
      return (await db.all(chains)).map(({ chain }) => chain);
    },
    async append(chain, { seq, at, event, previousHash, hash }, head) {
      const row = { chain, seq, at, event: JSON.stringify(event), previous_hash: previousHash, hash };
      db.write(build.insertInto('audit').values(row));
      if (chain === own.name) {
        own.end = { seq, hash };
        own.head = head;
        db.changes.push({ kind: 'audit', head });
      } else writeHead(db, chain, head);
    },
    async head(chain) {
      if (chain === own.name && own.head !== undefined) return own.head;
      const value = await meta.get(AUDIT_HEAD + chain);
      return value && JSON.parse(value.toString());
    },
    async entries(chain, afterSeq, limit) {
      const after = build.selectFrom('audit').selectAll().where('chain', '=', chain).where('seq', '>', afterSeq);
      return (await db.all(after.orderBy('seq').limit(limit))).map(auditEntryOf);
    },
    async seqAt(chain, at) {
      const since = build.selectFrom('audit').where('chain', '=', chain).where('at', '>=', at);
      const found = await db.get(since.select(build.fn.min<number | null>('seq').as('seq')));
      return found?.seq ?? ((await end(chain))?.seq ?? 0) + 1;
    },
    async prune(chain, uptoSeq) {
      const entries = build.deleteFrom('audit').where('chain', '=', chain).where('seq', '<=', uptoSeq);
      const last = build.selectFrom('audit').select(build.fn.max<number>('seq').as('seq')).where('chain', '=', chain);
      db.write(entries.where('seq', '<', last));
    },
  };
}

export function writeHead(db: PostgresStatements, chain: string, head: AuditHead): void {
  writeMeta(db, AUDIT_HEAD + chain, Buffer.from(JSON.stringify(head)));
}
