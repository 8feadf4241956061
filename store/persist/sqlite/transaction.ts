import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { AuditEntry, AuditHead } from '../../../api/admin.ts';
import type { CredentialRecord, IntegrationRecord } from '../../../api/protocol.ts';
import type { Session } from '../../../api/session.ts';
import type { WrappedKey } from '../../vault/vault.ts';
import type {
  Change,
  IdentityRow,
  JoinTokenRow,
  LeaseRow,
  RevocationRow,
  SealedMaterial,
  Snapshot,
  Transaction,
} from '../repository.ts';
import { bytes, leaseOf, materialHead, type Row, versionGoesBack, wrappedKey } from '../rows.ts';

const AUDIT_HEAD = 'audit head ';

/** The statements of a transaction over one connection; what it changed gathers in `changes`. */
export class SqliteTransaction implements Transaction {
  changes: Change[] = [];
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  async meta(name: string): Promise<Buffer | undefined> {
    const row = this.#get('SELECT value FROM meta WHERE name = ?', name);
    return row && bytes(row.value);
  }

  async setMeta(name: string, value: Buffer): Promise<void> {
    this.#setMeta(name, value);
    this.changes.push({ kind: 'meta', name });
  }

  async deleteMeta(name: string): Promise<void> {
    this.#run('DELETE FROM meta WHERE name = ?', name);
    this.changes.push({ kind: 'meta', name });
  }

  async metaNames(prefix: string): Promise<string[]> {
    return this.#all('SELECT name FROM meta WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name', prefix).map((row) =>
      String(row.name),
    );
  }

  async credential(key: string): Promise<CredentialRecord | undefined> {
    const row = this.#get('SELECT record FROM credentials WHERE key = ?', key);
    return row && JSON.parse(String(row.record));
  }

  async putCredential(key: string, record: CredentialRecord): Promise<void> {
    this.#run(
      'INSERT INTO credentials VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET record = excluded.record',
      key,
      JSON.stringify(record),
    );
    this.changes.push({ kind: 'credential', key, record });
  }

  async deleteCredential(key: string): Promise<void> {
    this.#run('DELETE FROM credentials WHERE key = ?', key);
    this.changes.push({ kind: 'credential', key, record: undefined });
  }

  async integration(key: string): Promise<IntegrationRecord | undefined> {
    const row = this.#get('SELECT record FROM integrations WHERE key = ?', key);
    return row && JSON.parse(String(row.record));
  }

  async putIntegration(key: string, record: IntegrationRecord): Promise<void> {
    this.#run(
      'INSERT INTO integrations VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET record = excluded.record',
      key,
      JSON.stringify(record),
    );
    this.changes.push({ kind: 'integration', key, record });
  }

  async deleteIntegration(key: string): Promise<void> {
    this.#run('DELETE FROM integrations WHERE key = ?', key);
    this.changes.push({ kind: 'integration', key, record: undefined });
  }

  async objects<K extends 'credentials' | 'integrations'>(
    kind: K,
    afterKey: string,
    limit: number,
  ): Promise<Snapshot[K]> {
    const sql = `SELECT key, record FROM ${kind} WHERE key > ? ORDER BY key LIMIT ?`;
    return this.#all(sql, afterKey, limit).map((row) => ({
      key: String(row.key),
      record: JSON.parse(String(row.record)),
    })) as Snapshot[K];
  }

  async dataKey(credential: string): Promise<WrappedKey | undefined> {
    const row = this.#get('SELECT kek_id, wrapped FROM data_keys WHERE credential = ?', credential);
    return row && wrappedKey(row);
  }

  async dataKeys(afterCredential: string, limit: number): Promise<{ credential: string; key: WrappedKey }[]> {
    const sql = 'SELECT * FROM data_keys WHERE credential > ? ORDER BY credential LIMIT ?';
    return this.#all(sql, afterCredential, limit).map((row) => ({
      credential: String(row.credential),
      key: wrappedKey(row),
    }));
  }

  async putDataKey(credential: string, key: WrappedKey): Promise<void> {
    this.#run(
      `INSERT INTO data_keys VALUES (?, ?, ?)
         ON CONFLICT (credential) DO UPDATE SET kek_id = excluded.kek_id, wrapped = excluded.wrapped`,
      credential,
      key.kekId,
      key.wrapped,
    );
  }

  async material(credential: string): Promise<SealedMaterial | undefined> {
    const row = this.#get('SELECT * FROM materials WHERE credential = ? ORDER BY version DESC LIMIT 1', credential);
    return row && { ...materialHead(row), sealed: bytes(row.sealed) };
  }

  async lastVersion(credential: string): Promise<number> {
    return Number(this.#get('SELECT last FROM versions WHERE credential = ?', credential)?.last ?? 0);
  }

  async putMaterial(material: SealedMaterial): Promise<void> {
    const { sealed, ...head } = material;
    this.#run(
      'INSERT INTO materials VALUES (?, ?, ?, ?, ?, ?)',
      head.credential,
      head.version,
      head.origin,
      JSON.stringify(head.fields),
      sealed,
      head.writtenAtMs,
    );
    const counted = this.#run(
      `INSERT INTO versions VALUES (?, ?)
         ON CONFLICT (credential) DO UPDATE SET last = excluded.last WHERE last < excluded.last`,
      head.credential,
      head.version,
    );
    if (counted === 0) throw versionGoesBack(head);
    this.changes.push({ kind: 'material', key: head.credential, head });
  }

  async deleteOldMaterial(credential: string, before: number): Promise<void> {
    this.#run('DELETE FROM materials WHERE credential = ? AND version < ?', credential, before);
  }

  async deleteMaterial(credential: string): Promise<void> {
    this.#run('DELETE FROM materials WHERE credential = ?', credential);
    this.#run('DELETE FROM data_keys WHERE credential = ?', credential);
    this.changes.push({ kind: 'material', key: credential, head: undefined });
  }

  async putSession(session: Session): Promise<void> {
    this.#run('INSERT INTO sessions VALUES (?, ?, NULL)', session.id, JSON.stringify(session));
    this.changes.push({ kind: 'session', session });
  }

  async changeSession(session: Session): Promise<boolean> {
    const sql = 'UPDATE sessions SET record = ? WHERE id = ? AND ended_at_ms IS NULL';
    if (this.#run(sql, JSON.stringify(session), session.id) === 0) return false;
    this.changes.push({ kind: 'session', session });
    return true;
  }

  async endSession(session: Session, atMs: number, reason: string): Promise<boolean> {
    const sql = 'UPDATE sessions SET ended_at_ms = ? WHERE id = ? AND ended_at_ms IS NULL';
    if (this.#run(sql, atMs, session.id) === 0) return false;
    this.changes.push({ kind: 'session', session, endReason: reason });
    return true;
  }

  async putIdentity(identity: IdentityRow): Promise<void> {
    const { serial, fingerprint, kind, sessionId, expiresAtMs } = identity;
    this.#run(
      'INSERT INTO identities VALUES (?, ?, ?, ?, ?)',
      serial,
      fingerprint,
      kind,
      sessionId ?? null,
      expiresAtMs,
    );
    this.changes.push({ kind: 'identity', identity });
  }

  async putRevocation(revocation: RevocationRow): Promise<void> {
    const { id } = revocation;
    this.#run(
      'INSERT INTO revocations VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record',
      id,
      JSON.stringify(revocation),
    );
    this.changes.push({ kind: 'revocation', id, revocation });
  }

  async deleteRevocation(id: string): Promise<void> {
    this.#run('DELETE FROM revocations WHERE id = ?', id);
    this.changes.push({ kind: 'revocation', id, revocation: undefined });
  }

  async revocations(): Promise<RevocationRow[]> {
    return this.#all('SELECT record FROM revocations ORDER BY id').map((row) => JSON.parse(String(row.record)));
  }

  async putLease(lease: LeaseRow): Promise<void> {
    const { id, sessionId, credential, version, issuedAtMs, expiresAtMs, endedAtMs } = lease;
    this.#run(
      'INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)',
      id,
      sessionId,
      credential,
      version,
      issuedAtMs,
      expiresAtMs,
      endedAtMs ?? null,
    );
  }

  async lease(id: string): Promise<LeaseRow | undefined> {
    const row = this.#get('SELECT * FROM leases WHERE id = ?', id);
    return row && leaseOf(row);
  }

  async leasesOf(sessionId: string, nowMs: number): Promise<LeaseRow[]> {
    const sql = `SELECT * FROM leases WHERE session_id = ? AND expires_at_ms > ? AND ended_at_ms IS NULL
      ORDER BY issued_at_ms, id`;
    return this.#all(sql, sessionId, nowMs).map(leaseOf);
  }

  async endLease(id: string, atMs: number): Promise<void> {
    this.#run('UPDATE leases SET ended_at_ms = ? WHERE id = ? AND ended_at_ms IS NULL', atMs, id);
  }

  async countLeases(credential: string, version: number): Promise<number> {
    const sql = `SELECT (SELECT count(*) FROM leases WHERE credential = ?1 AND version = ?2)
      + coalesce((SELECT count FROM pruned_leases WHERE credential = ?1 AND version = ?2), 0) AS count`;
    return Number(this.#get(sql, credential, version)?.count);
  }

  async addLeaseCount(credential: string, version: number, count: number): Promise<void> {
    this.#run(
      `INSERT INTO pruned_leases VALUES (?, ?, ?)
         ON CONFLICT (credential, version) DO UPDATE SET count = count + excluded.count`,
      credential,
      version,
      count,
    );
  }

  async putJoinToken(digest: string, { invitation, expiresAtMs }: JoinTokenRow): Promise<void> {
    this.#run('INSERT INTO join_tokens VALUES (?, ?, ?)', digest, JSON.stringify(invitation), expiresAtMs);
  }

  async takeJoinToken(digest: string, nowMs: number): Promise<JoinTokenRow | undefined> {
    const row = this.#get('DELETE FROM join_tokens WHERE digest = ? RETURNING invitation, expires_at_ms', digest);
    const expiresAtMs = Number(row?.expires_at_ms);
    return row && expiresAtMs > nowMs ? { invitation: JSON.parse(String(row.invitation)), expiresAtMs } : undefined;
  }

  async countJoinTokens(nowMs: number): Promise<number> {
    return Number(this.#get('SELECT count(*) AS count FROM join_tokens WHERE expires_at_ms > ?', nowMs)?.count);
  }

  async prune(beforeMs: number): Promise<void> {
    this.#run(
      `INSERT INTO pruned_leases SELECT credential, version, count(*) FROM leases WHERE expires_at_ms < ?
         GROUP BY credential, version ON CONFLICT DO UPDATE SET count = count + excluded.count`,
      beforeMs,
    );
    this.#run('DELETE FROM leases WHERE expires_at_ms < ?', beforeMs);
    this.#run(
      `DELETE FROM pruned_leases WHERE version <
         (SELECT last FROM versions WHERE versions.credential = pruned_leases.credential)`,
    );
    this.#run('DELETE FROM join_tokens WHERE expires_at_ms < ?', beforeMs);
    this.#run('DELETE FROM identities WHERE expires_at_ms < ?', beforeMs);
    this.#run(
      `DELETE FROM sessions WHERE ended_at_ms < ?
         AND NOT EXISTS (SELECT 1 FROM identities WHERE session_id = sessions.id)
         AND NOT EXISTS (SELECT 1 FROM leases WHERE session_id = sessions.id)`,
      beforeMs,
    );
  }

  async auditChains(): Promise<string[]> {
    return this.#all('SELECT DISTINCT chain FROM audit ORDER BY chain').map((row) => String(row.chain));
  }

  async auditEnd(chain: string): Promise<{ seq: number; hash: string } | undefined> {
    const row = this.#get('SELECT seq, hash FROM audit WHERE chain = ? ORDER BY seq DESC LIMIT 1', chain);
    return row && { seq: Number(row.seq), hash: String(row.hash) };
  }

  async appendAudit(chain: string, entry: AuditEntry, head: AuditHead): Promise<void> {
    const { seq, at, event, previousHash, hash } = entry;
    this.#run('INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?)', chain, seq, at, JSON.stringify(event), previousHash, hash);
    this.#setMeta(AUDIT_HEAD + chain, Buffer.from(JSON.stringify(head)));
    this.changes.push({ kind: 'audit', head });
  }

  async auditHead(chain: string): Promise<AuditHead | undefined> {
    const value = await this.meta(AUDIT_HEAD + chain);
    return value && JSON.parse(value.toString());
  }

  async auditEntries(chain: string, afterSeq: number, limit: number): Promise<AuditEntry[]> {
    const sql = 'SELECT * FROM audit WHERE chain = ? AND seq > ? ORDER BY seq LIMIT ?';
    return this.#all(sql, chain, afterSeq, limit).map((row) => ({
      chain,
      seq: Number(row.seq),
      at: String(row.at),
      event: JSON.parse(String(row.event)),
      previousHash: String(row.previous_hash),
      hash: String(row.hash),
    }));
  }

  async auditSeqAt(chain: string, at: string): Promise<number> {
    const sql = 'SELECT min(seq) AS seq FROM audit WHERE chain = ? AND at >= ?';
    const { seq } = this.#get(sql, chain, at) ?? {};
    return seq === null ? ((await this.auditEnd(chain))?.seq ?? 0) + 1 : Number(seq);
  }

  async pruneAudit(chain: string, uptoSeq: number): Promise<void> {
    this.#run(
      'DELETE FROM audit WHERE chain = ?1 AND seq <= ?2 AND seq < (SELECT max(seq) FROM audit WHERE chain = ?1)',
      chain,
      uptoSeq,
    );
  }

  #setMeta(name: string, value: Buffer): void {
    this.#run('INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value', name, value);
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  #all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values);
  }

  /** How many rows it changed. */
  #run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }
}
