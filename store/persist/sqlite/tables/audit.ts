import type { Transaction } from '../../repository.ts';
import { AUDIT_HEAD, auditEntryOf } from '../../rows.ts';
import type { SqliteStatements } from '../statements.ts';
import { writeMeta } from './meta.ts';

export function auditTable(db: SqliteStatements, meta: Transaction['meta']): Transaction['audit'] {
  const end = async (chain: string) => {
    const row = db.get('SELECT seq, hash FROM audit WHERE chain = ? ORDER BY seq DESC LIMIT 1', chain);
    return row && { seq: Number(row.seq), hash: String(row.hash) };
  };
  return {
    end,
    chains: async () => db.all('SELECT DISTINCT chain FROM audit ORDER BY chain').map((row) => String(row.chain)),
    async append(chain, { seq, at, event, previousHash, hash }, head) {
      const sql = 'INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)';
      db.run(sql, chain, seq, at, JSON.stringify(event), previousHash, hash);
      writeMeta(db, AUDIT_HEAD + chain, Buffer.from(JSON.stringify(head)));
      db.changes.push({ kind: 'audit', head });
    },
    async head(chain) {
      const value = await meta.get(AUDIT_HEAD + chain);
      return value && JSON.parse(value.toString());
    },
    async entries(chain, afterSeq, limit) {
      const sql = 'SELECT * FROM audit WHERE chain = ? AND seq > ? ORDER BY seq LIMIT ?';
      return db.all(sql, chain, afterSeq, limit).map(auditEntryOf);
    },
    async seqAt(chain, at) {
      const { seq } = db.get('SELECT min(seq) AS seq FROM audit WHERE chain = ? AND at >= ?', chain, at) ?? {};
      return seq === null ? ((await end(chain))?.seq ?? 0) + 1 : Number(seq);
    },
    async prune(chain, uptoSeq) {
      const sql = `DELETE FROM audit
        WHERE chain = ?1 AND seq <= ?2 AND seq < (SELECT max(seq) FROM audit WHERE chain = ?1)`;
      db.run(sql, chain, uptoSeq);
    },
  };
}
