import type { Client } from 'pg';
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
/** How long a change can be read by those who fell behind; after that they read everything anew. */
const CHANGES_KEPT = '10 minutes';

type Value = string | number | Buffer | null;
/** Names of prepared statements; the same ones on each connection. */
const names = new Map<string, string>();

interface ChainEnd {
  seq: number;
  hash: string;
}

/** What a transaction gathers beside what it writes; a unit of it that fails is forgotten by going back to a mark. */
interface Mark {
  changes: number;
  end: ChainEnd | undefined;
  head: AuditHead | undefined;
}

/**
 * The statements of a transaction over one connection. What is written is sent without waiting for its answer: `settle` tells what
 * became of it.
 */
export class PostgresTransaction implements Transaction {
  readonly changes: Change[] = [];
  readonly #client: Client;
  /** The chain that this process alone appends to, so that its end need not be read. */
  readonly #chain: string;
  #end: ChainEnd | undefined;
  /** Written once, at the end. */
  #head: AuditHead | undefined;
  #sent: Promise<unknown>[] = [];
  /** What the database said first against a statement of this unit. */
  #failure: unknown;

  constructor(options: { client: Client; chain: string; end: ChainEnd | undefined }) {
    this.#client = options.client;
    this.#chain = options.chain;
    this.#end = options.end;
  }

  /** The end of the own chain, as far as it is known. */
  get end(): ChainEnd | undefined {
    return this.#end;
  }

  mark(): Mark {
    return { changes: this.changes.length, end: this.#end, head: this.#head };
  }

  backTo({ changes, end, head }: Mark): void {
    this.changes.length = changes;
    this.#end = end;
    this.#head = head;
  }

  /** Sends one of the statements that bound transactions and units. */
  send(sql: string): void {
    this.#later(this.#client.query(sql));
  }

  /** Waits for what was sent; the first error of the database since the last time, if there was one. */
  async settle(): Promise<unknown> {
    const sent = this.#sent;
    this.#sent = [];
    await Promise.all(sent);
    const failure = this.#failure;
    this.#failure = undefined;
    return failure;
  }

  /** Names the transaction, so that it can be asked later what became of it. */
  async id(): Promise<string> {
    return String((await this.#get('SELECT pg_current_xact_id()::text AS id'))?.id);
  }

  /** Sends what is written once for all units. */
  finish(): void {
    if (this.#head !== undefined) this.#setMeta(AUDIT_HEAD + this.#chain, Buffer.from(JSON.stringify(this.#head)));
  }

  async meta(name: string): Promise<Buffer | undefined> {
    return (await this.#get('SELECT value FROM meta WHERE name = $1', name))?.value as Buffer | undefined;
  }

  async setMeta(name: string, value: Buffer): Promise<void> {
    this.#setMeta(name, value);
    this.changes.push({ kind: 'meta', name });
  }

  async deleteMeta(name: string): Promise<void> {
    this.#write('DELETE FROM meta WHERE name = $1', name);
    this.changes.push({ kind: 'meta', name });
  }

  async metaNames(prefix: string): Promise<string[]> {
    const sql = 'SELECT name FROM meta WHERE starts_with(name, $1) ORDER BY name COLLATE "C"';
    return (await this.#all(sql, prefix)).map((row) => String(row.name));
  }

  async credential(key: string): Promise<CredentialRecord | undefined> {
    return jsonOf((await this.#get('SELECT record FROM credentials WHERE key = $1', key))?.record);
  }

  async putCredential(key: string, record: CredentialRecord): Promise<void> {
    this.#write(
      'INSERT INTO credentials (key, record) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET record = excluded.record',
      key,
      JSON.stringify(record),
    );
    this.changes.push({ kind: 'credential', key, record });
  }

  async deleteCredential(key: string): Promise<void> {
    this.#write('DELETE FROM credentials WHERE key = $1', key);
    this.changes.push({ kind: 'credential', key, record: undefined });
  }

  async integration(key: string): Promise<IntegrationRecord | undefined> {
    return jsonOf((await this.#get('SELECT record FROM integrations WHERE key = $1', key))?.record);
  }

  async putIntegration(key: string, record: IntegrationRecord): Promise<void> {
    this.#write(
      'INSERT INTO integrations (key, record) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET record = excluded.record',
      key,
      JSON.stringify(record),
    );
    this.changes.push({ kind: 'integration', key, record });
  }

  async deleteIntegration(key: string): Promise<void> {
    this.#write('DELETE FROM integrations WHERE key = $1', key);
    this.changes.push({ kind: 'integration', key, record: undefined });
  }

  async objects<K extends 'credentials' | 'integrations'>(
    kind: K,
    afterKey: string,
    limit: number,
  ): Promise<Snapshot[K]> {
    const sql = `SELECT key, record FROM ${kind} WHERE key COLLATE "C" > $1 ORDER BY key COLLATE "C" LIMIT $2`;
    return (await this.#all(sql, afterKey, limit)).map((row) => ({
      key: String(row.key),
      record: jsonOf(row.record),
    })) as Snapshot[K];
  }

  async dataKey(credential: string): Promise<WrappedKey | undefined> {
    const row = await this.#get('SELECT kek_id, wrapped FROM data_keys WHERE credential = $1', credential);
    return row && wrappedKey(row);
  }

  async putDataKey(credential: string, { kekId, wrapped }: WrappedKey): Promise<void> {
    this.#write(
      `INSERT INTO data_keys (credential, kek_id, wrapped) VALUES ($1, $2, $3)
         ON CONFLICT (credential) DO UPDATE SET kek_id = excluded.kek_id, wrapped = excluded.wrapped`,
      credential,
      kekId,
      wrapped,
    );
  }

  async dataKeys(afterCredential: string, limit: number): Promise<{ credential: string; key: WrappedKey }[]> {
    const sql = 'SELECT * FROM data_keys WHERE credential > $1 ORDER BY credential LIMIT $2';
    const rows = await this.#all(sql, afterCredential, limit);
    return rows.map((row) => ({ credential: String(row.credential), key: wrappedKey(row) }));
  }

  async material(credential: string): Promise<SealedMaterial | undefined> {
    const sql = 'SELECT * FROM materials WHERE credential = $1 ORDER BY version DESC LIMIT 1';
    const row = await this.#get(sql, credential);
    return row && { ...materialHead(row), sealed: bytes(row.sealed) };
  }

  async lastVersion(credential: string): Promise<number> {
    return Number((await this.#get('SELECT last FROM versions WHERE credential = $1', credential))?.last ?? 0);
  }

  async putMaterial(material: SealedMaterial): Promise<void> {
    const { sealed, ...head } = material;
    this.#write(
      `INSERT INTO materials (credential, version, origin, fields, sealed, written_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6)`,
      head.credential,
      head.version,
      head.origin,
      JSON.stringify(head.fields),
      sealed,
      head.writtenAtMs,
    );
    const counted = await this.#get(
      `INSERT INTO versions (credential, last) VALUES ($1, $2)
         ON CONFLICT (credential) DO UPDATE SET last = excluded.last WHERE versions.last < excluded.last RETURNING last`,
      head.credential,
      head.version,
    );
    if (counted === undefined) throw versionGoesBack(head);
    this.changes.push({ kind: 'material', key: head.credential, head });
  }

  async deleteOldMaterial(credential: string, before: number): Promise<void> {
    this.#write('DELETE FROM materials WHERE credential = $1 AND version < $2', credential, before);
  }

  async deleteMaterial(credential: string): Promise<void> {
    this.#write('DELETE FROM materials WHERE credential = $1', credential);
    this.#write('DELETE FROM data_keys WHERE credential = $1', credential);
    this.changes.push({ kind: 'material', key: credential, head: undefined });
  }

  async putSession(session: Session): Promise<void> {
    this.#write('INSERT INTO sessions (id, record) VALUES ($1, $2)', session.id, JSON.stringify(session));
    this.changes.push({ kind: 'session', session });
  }

  async endSession(session: Session, atMs: number, reason: string): Promise<boolean> {
    const sql = 'UPDATE sessions SET ended_at_ms = $1 WHERE id = $2 AND ended_at_ms IS NULL RETURNING id';
    if ((await this.#get(sql, atMs, session.id)) === undefined) return false;
    this.changes.push({ kind: 'session', session, endReason: reason });
    return true;
  }

  async putIdentity(identity: IdentityRow): Promise<void> {
    const { serial, fingerprint, kind, sessionId, expiresAtMs } = identity;
    this.#write(
      'INSERT INTO identities (serial, fingerprint, kind, session_id, expires_at_ms) VALUES ($1, $2, $3, $4, $5)',
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
    this.#write(
      'INSERT INTO revocations (id, record) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET record = excluded.record',
      id,
      JSON.stringify(revocation),
    );
    this.changes.push({ kind: 'revocation', id, revocation });
  }

  async deleteRevocation(id: string): Promise<void> {
    this.#write('DELETE FROM revocations WHERE id = $1', id);
    this.changes.push({ kind: 'revocation', id, revocation: undefined });
  }

  async revocations(): Promise<RevocationRow[]> {
    const rows = await this.#all('SELECT record FROM revocations ORDER BY id COLLATE "C"');
    return rows.map((row) => jsonOf(row.record)!);
  }

  async putLease(lease: LeaseRow): Promise<void> {
    const { id, sessionId, credential, version, issuedAtMs, expiresAtMs, endedAtMs } = lease;
    this.#write(
      `INSERT INTO leases (id, session_id, credential, version, issued_at_ms, expires_at_ms, ended_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7)`,
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
    const row = await this.#get('SELECT * FROM leases WHERE id = $1', id);
    return row && leaseOf(row);
  }

  async leasesOf(sessionId: string, nowMs: number): Promise<LeaseRow[]> {
    const sql = `SELECT * FROM leases WHERE session_id = $1 AND expires_at_ms > $2 AND ended_at_ms IS NULL
      ORDER BY issued_at_ms, id`;
    return (await this.#all(sql, sessionId, nowMs)).map(leaseOf);
  }

  async endLease(id: string, atMs: number): Promise<void> {
    this.#write('UPDATE leases SET ended_at_ms = $2 WHERE id = $1 AND ended_at_ms IS NULL', id, atMs);
  }

  async countLeases(credential: string, version: number): Promise<number> {
    const sql = `SELECT (SELECT count(*) FROM leases WHERE credential = $1 AND version = $2)
      + coalesce((SELECT count FROM pruned_leases WHERE credential = $1 AND version = $2), 0) AS count`;
    return Number((await this.#get(sql, credential, version))?.count);
  }

  async addLeaseCount(credential: string, version: number, count: number): Promise<void> {
    this.#write(
      `INSERT INTO pruned_leases AS p (credential, version, count) VALUES ($1, $2, $3)
         ON CONFLICT (credential, version) DO UPDATE SET count = p.count + excluded.count`,
      credential,
      version,
      count,
    );
  }

  async putJoinToken(digest: string, { invitation, expiresAtMs }: JoinTokenRow): Promise<void> {
    const sql = 'INSERT INTO join_tokens (digest, invitation, expires_at_ms) VALUES ($1, $2, $3)';
    this.#write(sql, digest, JSON.stringify(invitation), expiresAtMs);
  }

  async takeJoinToken(digest: string, nowMs: number): Promise<JoinTokenRow | undefined> {
    const row = await this.#get(
      'DELETE FROM join_tokens WHERE digest = $1 RETURNING invitation, expires_at_ms',
      digest,
    );
    const expiresAtMs = Number(row?.expires_at_ms);
    return row && expiresAtMs > nowMs ? { invitation: JSON.parse(String(row.invitation)), expiresAtMs } : undefined;
  }

  async countJoinTokens(nowMs: number): Promise<number> {
    return Number(
      (await this.#get('SELECT count(*) AS count FROM join_tokens WHERE expires_at_ms > $1', nowMs))?.count,
    );
  }

  async prune(beforeMs: number): Promise<void> {
    this.#write(
      `INSERT INTO pruned_leases AS p SELECT credential, version, count(*) FROM leases WHERE expires_at_ms < $1
         GROUP BY credential, version ON CONFLICT (credential, version) DO UPDATE SET count = p.count + excluded.count`,
      beforeMs,
    );
    this.#write('DELETE FROM leases WHERE expires_at_ms < $1', beforeMs);
    this.#write(
      'DELETE FROM pruned_leases p USING versions v WHERE v.credential = p.credential AND p.version < v.last',
    );
    this.#write('DELETE FROM join_tokens WHERE expires_at_ms < $1', beforeMs);
    this.#write('DELETE FROM identities WHERE expires_at_ms < $1', beforeMs);
    this.#write(
      `DELETE FROM sessions WHERE ended_at_ms < $1
         AND NOT EXISTS (SELECT 1 FROM identities WHERE session_id = sessions.id)
         AND NOT EXISTS (SELECT 1 FROM leases WHERE session_id = sessions.id)`,
      beforeMs,
    );
    this.#write(
      `WITH gone AS (DELETE FROM changes WHERE at < now() - interval '${CHANGES_KEPT}' RETURNING id)
         UPDATE changes_forgotten SET upto = last FROM (SELECT max(id) AS last FROM gone) AS g WHERE last > upto`,
    );
  }

  async auditChains(): Promise<string[]> {
    // One look into the index for each chain, not one for each entry.
    const sql = `WITH RECURSIVE found AS (
        SELECT min(chain) AS chain FROM audit
        UNION ALL SELECT (SELECT min(chain) FROM audit WHERE chain > found.chain) FROM found WHERE found.chain IS NOT NULL
      ) SELECT chain FROM found WHERE chain IS NOT NULL`;
    return (await this.#all(sql)).map((row) => String(row.chain));
  }

  async auditEnd(chain: string): Promise<ChainEnd | undefined> {
    if (chain === this.#chain && this.#end !== undefined) return this.#end;
    const row = await this.#get('SELECT seq, hash FROM audit WHERE chain = $1 ORDER BY seq DESC LIMIT 1', chain);
    return row && { seq: Number(row.seq), hash: String(row.hash) };
  }

  async appendAudit(chain: string, entry: AuditEntry, head: AuditHead): Promise<void> {
    const { seq, at, event, previousHash, hash } = entry;
    this.#write(
      'INSERT INTO audit (chain, seq, at, event, previous_hash, hash) VALUES ($1, $2, $3, $4, $5, $6)',
      chain,
      seq,
      at,
      JSON.stringify(event),
      previousHash,
      hash,
    );
    if (chain === this.#chain) {
      this.#end = { seq, hash };
      this.#head = head;
      this.changes.push({ kind: 'audit', head });
    } else this.#setMeta(AUDIT_HEAD + chain, Buffer.from(JSON.stringify(head)));
  }

  async auditHead(chain: string): Promise<AuditHead | undefined> {
    if (chain === this.#chain && this.#head !== undefined) return this.#head;
    return jsonOf((await this.meta(AUDIT_HEAD + chain))?.toString());
  }

  async auditEntries(chain: string, afterSeq: number, limit: number): Promise<AuditEntry[]> {
    const sql = 'SELECT * FROM audit WHERE chain = $1 AND seq > $2 ORDER BY seq LIMIT $3';
    return (await this.#all(sql, chain, afterSeq, limit)).map((row) => ({
      chain,
      seq: Number(row.seq),
      at: String(row.at),
      event: JSON.parse(String(row.event)),
      previousHash: String(row.previous_hash),
      hash: String(row.hash),
    }));
  }

  async auditSeqAt(chain: string, at: string): Promise<number> {
    const found = await this.#get('SELECT min(seq) AS seq FROM audit WHERE chain = $1 AND at >= $2', chain, at);
    const seq = found?.seq ?? null;
    return seq === null ? ((await this.auditEnd(chain))?.seq ?? 0) + 1 : Number(seq);
  }

  async pruneAudit(chain: string, uptoSeq: number): Promise<void> {
    this.#write(
      'DELETE FROM audit WHERE chain = $1 AND seq <= $2 AND seq < (SELECT max(seq) FROM audit WHERE chain = $1)',
      chain,
      uptoSeq,
    );
  }

  #setMeta(name: string, value: Buffer): void {
    this.#write(
      'INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value',
      name,
      value,
    );
  }

  async #get(text: string, ...values: Value[]): Promise<Row | undefined> {
    return (await this.#all(text, ...values))[0];
  }

  async #all(text: string, ...values: Value[]): Promise<Row[]> {
    try {
      return (await this.#client.query({ name: nameOf(text), text, values })).rows;
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  #write(text: string, ...values: Value[]): void {
    this.#later(this.#client.query({ name: nameOf(text), text, values }));
  }

  #later(done: Promise<unknown>): void {
    this.#sent.push(
      done.catch((error: unknown) => {
        this.#failure ??= error;
      }),
    );
  }
}

function nameOf(text: string): string {
  let name = names.get(text);
  if (name === undefined) {
    name = `sidekey${names.size}`;
    names.set(text, name);
  }
  return name;
}

function jsonOf(text: unknown) {
  return text === undefined ? undefined : JSON.parse(String(text));
}
