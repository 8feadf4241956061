import { type CompiledQuery, type QueryExecutorProvider, sql } from 'kysely';
import type { Client, QueryResult } from 'pg';
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
import { leaseOf, materialHead, versionGoesBack, wrappedKey } from '../rows.ts';
import { build } from './schema.ts';

const AUDIT_HEAD = 'audit head ';
/** How long a change can be read by those who fell behind; after that they read everything anew. */
const CHANGES_KEPT = '10 minutes';

/** A statement of the builder, or one in words where it has none. */
interface Query<T> {
  compile(on: QueryExecutorProvider): CompiledQuery<T>;
}

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
    return String((await this.#get(sql<{ id: string }>`SELECT pg_current_xact_id()::text AS id`))?.id);
  }

  /** Sends what is written once for all units. */
  finish(): void {
    if (this.#head !== undefined) this.#setMeta(AUDIT_HEAD + this.#chain, Buffer.from(JSON.stringify(this.#head)));
  }

  async meta(name: string): Promise<Buffer | undefined> {
    return (await this.#get(build.selectFrom('meta').select('value').where('name', '=', name)))?.value;
  }

  async setMeta(name: string, value: Buffer): Promise<void> {
    this.#setMeta(name, value);
    this.changes.push({ kind: 'meta', name });
  }

  async deleteMeta(name: string): Promise<void> {
    this.#write(build.deleteFrom('meta').where('name', '=', name));
    this.changes.push({ kind: 'meta', name });
  }

  async metaNames(prefix: string): Promise<string[]> {
    const named = build.selectFrom('meta').select('name').orderBy('name');
    return (await this.#all(named.where(sql<boolean>`starts_with(name, ${prefix})`))).map(({ name }) => name);
  }

  async credential(key: string): Promise<CredentialRecord | undefined> {
    return jsonOf((await this.#get(build.selectFrom('credentials').select('record').where('key', '=', key)))?.record);
  }

  async putCredential(key: string, record: CredentialRecord): Promise<void> {
    const row = { key, record: JSON.stringify(record) };
    this.#write(
      build
        .insertInto('credentials')
        .values(row)
        .onConflict((taken) => taken.column('key').doUpdateSet({ record: row.record })),
    );
    this.changes.push({ kind: 'credential', key, record });
  }

  async deleteCredential(key: string): Promise<void> {
    this.#write(build.deleteFrom('credentials').where('key', '=', key));
    this.changes.push({ kind: 'credential', key, record: undefined });
  }

  async integration(key: string): Promise<IntegrationRecord | undefined> {
    return jsonOf((await this.#get(build.selectFrom('integrations').select('record').where('key', '=', key)))?.record);
  }

  async putIntegration(key: string, record: IntegrationRecord): Promise<void> {
    const row = { key, record: JSON.stringify(record) };
    this.#write(
      build
        .insertInto('integrations')
        .values(row)
        .onConflict((taken) => taken.column('key').doUpdateSet({ record: row.record })),
    );
    this.changes.push({ kind: 'integration', key, record });
  }

  async deleteIntegration(key: string): Promise<void> {
    this.#write(build.deleteFrom('integrations').where('key', '=', key));
    this.changes.push({ kind: 'integration', key, record: undefined });
  }

  async objects<K extends 'credentials' | 'integrations'>(
    kind: K,
    afterKey: string,
    limit: number,
  ): Promise<Snapshot[K]> {
    const table: 'credentials' | 'integrations' = kind;
    const rows = await this.#all(
      build.selectFrom(table).select(['key', 'record']).where('key', '>', afterKey).orderBy('key').limit(limit),
    );
    return rows.map(({ key, record }) => ({ key, record: jsonOf(record) })) as Snapshot[K];
  }

  async dataKey(credential: string): Promise<WrappedKey | undefined> {
    const row = await this.#get(build.selectFrom('data_keys').selectAll().where('credential', '=', credential));
    return row && wrappedKey(row);
  }

  async putDataKey(credential: string, { kekId, wrapped }: WrappedKey): Promise<void> {
    const key = { kek_id: kekId, wrapped };
    this.#write(
      build
        .insertInto('data_keys')
        .values({ credential, ...key })
        .onConflict((taken) => taken.column('credential').doUpdateSet(key)),
    );
  }

  async dataKeys(afterCredential: string, limit: number): Promise<{ credential: string; key: WrappedKey }[]> {
    const after = build.selectFrom('data_keys').selectAll().where('credential', '>', afterCredential);
    const rows = await this.#all(after.orderBy('credential').limit(limit));
    return rows.map((row) => ({ credential: row.credential, key: wrappedKey(row) }));
  }

  async material(credential: string): Promise<SealedMaterial | undefined> {
    const versions = build.selectFrom('materials').selectAll().where('credential', '=', credential);
    const row = await this.#get(versions.orderBy('version', 'desc').limit(1));
    return row && { ...materialHead(row), sealed: row.sealed };
  }

  async lastVersion(credential: string): Promise<number> {
    const row = await this.#get(build.selectFrom('versions').select('last').where('credential', '=', credential));
    return row?.last ?? 0;
  }

  async putMaterial(material: SealedMaterial): Promise<void> {
    const { sealed, ...head } = material;
    const { credential, version, origin, fields, writtenAtMs } = head;
    this.#write(
      build
        .insertInto('materials')
        .values({ credential, version, origin, fields: JSON.stringify(fields), sealed, written_at_ms: writtenAtMs }),
    );
    const counted = await this.#get(
      build
        .insertInto('versions')
        .values({ credential, last: version })
        .onConflict((taken) =>
          taken.column('credential').doUpdateSet({ last: version }).where('versions.last', '<', version),
        )
        .returning('last'),
    );
    if (counted === undefined) throw versionGoesBack(head);
    this.changes.push({ kind: 'material', key: credential, head });
  }

  async deleteOldMaterial(credential: string, before: number): Promise<void> {
    this.#write(build.deleteFrom('materials').where('credential', '=', credential).where('version', '<', before));
  }

  async deleteMaterial(credential: string): Promise<void> {
    this.#write(build.deleteFrom('materials').where('credential', '=', credential));
    this.#write(build.deleteFrom('data_keys').where('credential', '=', credential));
    this.changes.push({ kind: 'material', key: credential, head: undefined });
  }

  async putSession(session: Session): Promise<void> {
    this.#write(build.insertInto('sessions').values({ id: session.id, record: JSON.stringify(session) }));
    this.changes.push({ kind: 'session', session });
  }

  async changeSession(session: Session): Promise<boolean> {
    const record = JSON.stringify(session);
    const running = build.updateTable('sessions').set({ record }).where('id', '=', session.id);
    if ((await this.#get(running.where('ended_at_ms', 'is', null).returning('id'))) === undefined) return false;
    this.changes.push({ kind: 'session', session });
    return true;
  }

  async endSession(session: Session, atMs: number, reason: string): Promise<boolean> {
    const running = build.updateTable('sessions').set({ ended_at_ms: atMs }).where('id', '=', session.id);
    if ((await this.#get(running.where('ended_at_ms', 'is', null).returning('id'))) === undefined) return false;
    this.changes.push({ kind: 'session', session, endReason: reason });
    return true;
  }

  async putIdentity(identity: IdentityRow): Promise<void> {
    const { serial, fingerprint, kind, sessionId = null, expiresAtMs } = identity;
    const row = { serial, fingerprint, kind, session_id: sessionId, expires_at_ms: expiresAtMs };
    this.#write(build.insertInto('identities').values(row));
    this.changes.push({ kind: 'identity', identity });
  }

  async putRevocation(revocation: RevocationRow): Promise<void> {
    const { id } = revocation;
    const record = JSON.stringify(revocation);
    this.#write(
      build
        .insertInto('revocations')
        .values({ id, record })
        .onConflict((taken) => taken.column('id').doUpdateSet({ record })),
    );
    this.changes.push({ kind: 'revocation', id, revocation });
  }

  async deleteRevocation(id: string): Promise<void> {
    this.#write(build.deleteFrom('revocations').where('id', '=', id));
    this.changes.push({ kind: 'revocation', id, revocation: undefined });
  }

  async revocations(): Promise<RevocationRow[]> {
    const rows = await this.#all(build.selectFrom('revocations').select('record').orderBy('id'));
    return rows.map(({ record }) => jsonOf(record)!);
  }

  async putLease(lease: LeaseRow): Promise<void> {
    const { id, sessionId, credential, version, issuedAtMs, expiresAtMs, endedAtMs = null } = lease;
    this.#write(
      build.insertInto('leases').values({
        id,
        session_id: sessionId,
        credential,
        version,
        issued_at_ms: issuedAtMs,
        expires_at_ms: expiresAtMs,
        ended_at_ms: endedAtMs,
      }),
    );
  }

  async lease(id: string): Promise<LeaseRow | undefined> {
    const row = await this.#get(build.selectFrom('leases').selectAll().where('id', '=', id));
    return row && leaseOf(row);
  }

  async leasesOf(sessionId: string, nowMs: number): Promise<LeaseRow[]> {
    const rows = await this.#all(
      build
        .selectFrom('leases')
        .selectAll()
        .where('session_id', '=', sessionId)
        .where('expires_at_ms', '>', nowMs)
        .where('ended_at_ms', 'is', null)
        .orderBy('issued_at_ms')
        .orderBy('id'),
    );
    return rows.map(leaseOf);
  }

  async endLease(id: string, atMs: number): Promise<void> {
    const running = build.updateTable('leases').set({ ended_at_ms: atMs }).where('id', '=', id);
    this.#write(running.where('ended_at_ms', 'is', null));
  }

  async countLeases(credential: string, version: number): Promise<number> {
    const { count } = build.fn;
    const kept = build.selectFrom('leases').select(count<number>('id').as('count'));
    const pruned = build.selectFrom('pruned_leases').select('count');
    const [now, before] = await Promise.all([
      this.#get(kept.where('credential', '=', credential).where('version', '=', version)),
      this.#get(pruned.where('credential', '=', credential).where('version', '=', version)),
    ]);
    return (now?.count ?? 0) + (before?.count ?? 0);
  }

  async addLeaseCount(credential: string, version: number, count: number): Promise<void> {
    this.#write(
      build
        .insertInto('pruned_leases')
        .values({ credential, version, count })
        .onConflict((taken) =>
          taken
            .columns(['credential', 'version'])
            .doUpdateSet((row) => ({ count: row('pruned_leases.count', '+', row.ref('excluded.count')) })),
        ),
    );
  }

  async putJoinToken(digest: string, { invitation, expiresAtMs }: JoinTokenRow): Promise<void> {
    const row = { digest, invitation: JSON.stringify(invitation), expires_at_ms: expiresAtMs };
    this.#write(build.insertInto('join_tokens').values(row));
  }

  async takeJoinToken(digest: string, nowMs: number): Promise<JoinTokenRow | undefined> {
    const row = await this.#get(build.deleteFrom('join_tokens').where('digest', '=', digest).returningAll());
    if (row === undefined || row.expires_at_ms <= nowMs) return undefined;
    return { invitation: JSON.parse(row.invitation), expiresAtMs: row.expires_at_ms };
  }

  async countJoinTokens(nowMs: number): Promise<number> {
    const waiting = build.selectFrom('join_tokens').where('expires_at_ms', '>', nowMs);
    return (await this.#get(waiting.select(build.fn.countAll<number>().as('count'))))!.count;
  }

  async prune(beforeMs: number): Promise<void> {
    this.#write(
      build
        .insertInto('pruned_leases')
        .columns(['credential', 'version', 'count'])
        .expression(
          build
            .selectFrom('leases')
            .where('expires_at_ms', '<', beforeMs)
            .groupBy(['credential', 'version'])
            .select(['credential', 'version', build.fn.countAll<number>().as('count')]),
        )
        .onConflict((taken) =>
          taken
            .columns(['credential', 'version'])
            .doUpdateSet((row) => ({ count: row('pruned_leases.count', '+', row.ref('excluded.count')) })),
        ),
    );
    this.#write(build.deleteFrom('leases').where('expires_at_ms', '<', beforeMs));
    this.#write(
      build
        .deleteFrom('pruned_leases')
        .using('versions')
        .whereRef('versions.credential', '=', 'pruned_leases.credential')
        .whereRef('pruned_leases.version', '<', 'versions.last'),
    );
    this.#write(build.deleteFrom('join_tokens').where('expires_at_ms', '<', beforeMs));
    this.#write(build.deleteFrom('identities').where('expires_at_ms', '<', beforeMs));
    this.#write(
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
    this.#write(
      sql`WITH gone AS (DELETE FROM changes WHERE at < now() - ${CHANGES_KEPT}::interval RETURNING id)
        UPDATE changes_forgotten SET upto = last FROM (SELECT max(id) AS last FROM gone) AS g WHERE last > upto`,
    );
  }

  async auditChains(): Promise<string[]> {
    // One look into the index for each chain, not one for each entry.
    const chains = sql<{ chain: string }>`WITH RECURSIVE found AS (
        SELECT min(chain) AS chain FROM audit
        UNION ALL SELECT (SELECT min(chain) FROM audit WHERE chain > found.chain) FROM found WHERE found.chain IS NOT NULL
      ) SELECT chain FROM found WHERE chain IS NOT NULL`;
    return (await this.#all(chains)).map(({ chain }) => chain);
  }

  async auditEnd(chain: string): Promise<ChainEnd | undefined> {
    if (chain === this.#chain && this.#end !== undefined) return this.#end;
    const entries = build.selectFrom('audit').select(['seq', 'hash']).where('chain', '=', chain);
    return this.#get(entries.orderBy('seq', 'desc').limit(1));
  }

  async appendAudit(chain: string, entry: AuditEntry, head: AuditHead): Promise<void> {
    const { seq, at, event, previousHash, hash } = entry;
    const row = { chain, seq, at, event: JSON.stringify(event), previous_hash: previousHash, hash };
    this.#write(build.insertInto('audit').values(row));
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
    const after = build.selectFrom('audit').selectAll().where('chain', '=', chain).where('seq', '>', afterSeq);
    return (await this.#all(after.orderBy('seq').limit(limit))).map(
      ({ event, previous_hash: previousHash, ...row }) => ({
        ...row,
        event: JSON.parse(event),
        previousHash,
      }),
    );
  }

  async auditSeqAt(chain: string, at: string): Promise<number> {
    const since = build.selectFrom('audit').where('chain', '=', chain).where('at', '>=', at);
    const found = await this.#get(since.select(build.fn.min<number | null>('seq').as('seq')));
    return found?.seq ?? ((await this.auditEnd(chain))?.seq ?? 0) + 1;
  }

  async pruneAudit(chain: string, uptoSeq: number): Promise<void> {
    const entries = build.deleteFrom('audit').where('chain', '=', chain).where('seq', '<=', uptoSeq);
    const last = build.selectFrom('audit').select(build.fn.max<number>('seq').as('seq')).where('chain', '=', chain);
    this.#write(entries.where('seq', '<', last));
  }

  #setMeta(name: string, value: Buffer): void {
    this.#write(
      build
        .insertInto('meta')
        .values({ name, value })
        .onConflict((taken) => taken.column('name').doUpdateSet({ value })),
    );
  }

  async #get<T>(query: Query<T>): Promise<T | undefined> {
    return (await this.#all(query))[0];
  }

  async #all<T>(query: Query<T>): Promise<T[]> {
    try {
      return (await this.#query(query)).rows as T[];
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  #write(query: Query<unknown>): void {
    this.#later(this.#query(query));
  }

  /** Prepared once on each connection. */
  #query(query: Query<unknown>): Promise<QueryResult> {
    const { sql: text, parameters } = query.compile(build);
    return this.#client.query({ name: nameOf(text), text, values: [...parameters] });
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
