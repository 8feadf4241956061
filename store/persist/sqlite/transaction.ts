import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { AuditEntry, AuditHead } from '../../../api/admin.ts';
import type { CredentialRecord, IntegrationRecord } from '../../../api/protocol.ts';
import type { Session } from '../../../api/session.ts';
import type { WrappedKey } from '../../vault/vault.ts';
import type { Change, IdentityRow, LeaseRow, MaterialHead, SealedMaterial, Transaction } from '../repository.ts';

const AUDIT_HEAD = 'audit head';

type Row = Record<string, unknown>;

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
    this.#run('INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value', name, value);
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

  async dataKey(credential: string): Promise<WrappedKey | undefined> {
    const row = this.#get('SELECT kek_id, wrapped FROM data_keys WHERE credential = ?', credential);
    return row && { kekId: String(row.kek_id), wrapped: bytes(row.wrapped) };
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
    this.#run(
      'INSERT INTO versions VALUES (?, ?) ON CONFLICT (credential) DO UPDATE SET last = excluded.last',
      head.credential,
      head.version,
    );
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

  async endSession(session: Session, atMs: number, reason: string): Promise<void> {
    this.#run('UPDATE sessions SET ended_at_ms = ? WHERE id = ?', atMs, session.id);
    this.changes.push({ kind: 'session', session, endReason: reason });
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

  async putLease(lease: LeaseRow): Promise<void> {
    const { id, sessionId, credential, version, issuedAtMs, expiresAtMs } = lease;
    this.#run(
      'INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?)',
      id,
      sessionId,
      credential,
      version,
      issuedAtMs,
      expiresAtMs,
    );
  }

  async prune(beforeMs: number): Promise<void> {
    this.#run('DELETE FROM leases WHERE expires_at_ms < ?', beforeMs);
    this.#run('DELETE FROM identities WHERE expires_at_ms < ?', beforeMs);
    this.#run(
      `DELETE FROM sessions WHERE ended_at_ms < ?
         AND NOT EXISTS (SELECT 1 FROM identities WHERE session_id = sessions.id)
         AND NOT EXISTS (SELECT 1 FROM leases WHERE session_id = sessions.id)`,
      beforeMs,
    );
  }

  async auditEnd(): Promise<{ seq: number; hash: string } | undefined> {
    const row = this.#get('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1');
    return row && { seq: Number(row.seq), hash: String(row.hash) };
  }

  async appendAudit(entry: AuditEntry, head: AuditHead): Promise<void> {
    const { seq, at, event, previousHash, hash } = entry;
    this.#run('INSERT INTO audit VALUES (?, ?, ?, ?, ?)', seq, at, JSON.stringify(event), previousHash, hash);
    await this.setMeta(AUDIT_HEAD, Buffer.from(JSON.stringify(head)));
    this.changes.push({ kind: 'audit', head });
  }

  async auditHead(): Promise<AuditHead | undefined> {
    const value = await this.meta(AUDIT_HEAD);
    return value && JSON.parse(value.toString());
  }

  async auditEntries(afterSeq: number, limit: number): Promise<AuditEntry[]> {
    return this.#all('SELECT * FROM audit WHERE seq > ? ORDER BY seq LIMIT ?', afterSeq, limit).map((row) => ({
      seq: Number(row.seq),
      at: String(row.at),
      event: JSON.parse(String(row.event)),
      previousHash: String(row.previous_hash),
      hash: String(row.hash),
    }));
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

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#statement(sql).run(...values);
  }
}

export function materialHead(row: Row): MaterialHead {
  return {
    credential: String(row.credential),
    version: Number(row.version),
    origin: String(row.origin) as MaterialHead['origin'],
    fields: JSON.parse(String(row.fields)),
    writtenAtMs: Number(row.written_at_ms),
  };
}

function bytes(value: unknown): Buffer {
  const view = value as Uint8Array;
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
}
