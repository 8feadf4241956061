import type { AuditEntry, AuditHead, JoinTokenRequest } from '../../api/admin.ts';
import type { CredentialRecord, IdentityKind, IntegrationRecord } from '../../api/protocol.ts';
import type { Selector } from '../../api/revocation.ts';
import type { Session } from '../../api/session.ts';
import type { WrappedKey } from '../vault/vault.ts';

/** What is known of a version of material without opening it. `origin` is the source that wrote it. */
export interface MaterialHead {
  credential: string;
  version: number;
  origin: CredentialRecord['source'];
  fields: string[];
  writtenAtMs: number;
}

export interface SealedMaterial extends MaterialHead {
  sealed: Buffer;
}

/** A client certificate that was issued; `serial` as X509Certificate prints it. */
export interface IdentityRow {
  serial: string;
  /** SHA-256 of the certificate, as X509Certificate prints it. */
  fingerprint: string;
  kind: IdentityKind;
  sessionId?: string;
  expiresAtMs: number;
}

export interface LeaseRow {
  id: string;
  sessionId: string;
  credential: string;
  version: number;
  issuedAtMs: number;
  expiresAtMs: number;
  /** Given up or revoked before its time. */
  endedAtMs?: number;
}

/** What stands revoked until it is lifted; or one lease, for as long as it would run. */
export interface RevocationRow {
  id: string;
  selector: Selector;
  atMs: number;
  by: string;
  reason: string;
  /** Only of a lease: whose it is, and when it would have ended. */
  session?: string;
  untilMs?: number;
}

/** Something that is different since a transaction was committed; `undefined` members: it is gone. */
export type Change =
  | { kind: 'credential'; key: string; record: CredentialRecord | undefined }
  | { kind: 'material'; key: string; head: MaterialHead | undefined }
  | { kind: 'integration'; key: string; record: IntegrationRecord | undefined }
  | { kind: 'session'; session: Session; endReason?: string }
  | { kind: 'identity'; identity: IdentityRow }
  | { kind: 'revocation'; id: string; revocation: RevocationRow | undefined }
  /** An entry of meta was set or deleted; read it anew if it matters. */
  | { kind: 'meta'; name: string }
  /** Only of the chain that this process writes. */
  | { kind: 'audit'; head: AuditHead };

/** All that the store keeps in memory as well. */
export interface Snapshot {
  credentials: { key: string; record: CredentialRecord }[];
  /** The newest of each credential. */
  materials: MaterialHead[];
  integrations: { key: string; record: IntegrationRecord }[];
  /** Those that have not ended. */
  sessions: Session[];
  identities: IdentityRow[];
  revocations: RevocationRow[];
}

/** Reads and writes within one transaction. */
export interface Transaction {
  meta(name: string): Promise<Buffer | undefined>;
  setMeta(name: string, value: Buffer): Promise<void>;
  deleteMeta(name: string): Promise<void>;
  /** Names that begin with `prefix`, in order. */
  metaNames(prefix: string): Promise<string[]>;

  credential(key: string): Promise<CredentialRecord | undefined>;
  putCredential(key: string, record: CredentialRecord): Promise<void>;
  deleteCredential(key: string): Promise<void>;

  integration(key: string): Promise<IntegrationRecord | undefined>;
  putIntegration(key: string, record: IntegrationRecord): Promise<void>;
  deleteIntegration(key: string): Promise<void>;

  /** Credentials or Integrations with a key after `afterKey`, in order. */
  objects<K extends 'credentials' | 'integrations'>(kind: K, afterKey: string, limit: number): Promise<Snapshot[K]>;

  dataKey(credential: string): Promise<WrappedKey | undefined>;
  putDataKey(credential: string, key: WrappedKey): Promise<void>;
  /** Those of the credentials after `afterCredential`, in order of the credential. */
  dataKeys(afterCredential: string, limit: number): Promise<{ credential: string; key: WrappedKey }[]>;
  /** The newest version. */
  material(credential: string): Promise<SealedMaterial | undefined>;
  /** Highest version that the credential ever had, 0 for none: kept when material is deleted, so that versions never go back. */
  lastVersion(credential: string): Promise<number>;
  /** @throws Error unless its version is higher than any before. */
  putMaterial(material: SealedMaterial): Promise<void>;
  /** Versions below `before`. */
  deleteOldMaterial(credential: string, before: number): Promise<void>;
  /** All versions, and the data key. */
  deleteMaterial(credential: string): Promise<void>;

  putSession(session: Session): Promise<void>;
  /** Takes the place of the record of the same id; whether it has not ended. */
  changeSession(session: Session): Promise<boolean>;
  /** Whether it had not ended before. */
  endSession(session: Session, atMs: number, reason: string): Promise<boolean>;
  putIdentity(identity: IdentityRow): Promise<void>;

  putRevocation(revocation: RevocationRow): Promise<void>;
  deleteRevocation(id: string): Promise<void>;
  revocations(): Promise<RevocationRow[]>;

  putLease(lease: LeaseRow): Promise<void>;
  lease(id: string): Promise<LeaseRow | undefined>;
  /** Those of the session that run at that time, oldest first. */
  leasesOf(sessionId: string, nowMs: number): Promise<LeaseRow[]>;
  /** Does nothing to one that has ended. */
  endLease(id: string, atMs: number): Promise<void>;
  /** How many were ever issued of that version; known while there is no newer one. */
  countLeases(credential: string, version: number): Promise<number>;
  /** Counts leases that there is no record of here: those of a database that was restored. */
  addLeaseCount(credential: string, version: number, count: number): Promise<void>;

  /** `digest` is the SHA-256 of the token. */
  putJoinToken(digest: string, token: JoinTokenRow): Promise<void>;
  /** Gives a token once, and only before it expires. */
  takeJoinToken(digest: string, nowMs: number): Promise<JoinTokenRow | undefined>;
  /** How many wait for their use. */
  countJoinTokens(nowMs: number): Promise<number>;

  /** Forgets identities, ended sessions, leases and join tokens that were over before then. */
  prune(beforeMs: number): Promise<void>;

  /** Names of all chains of the audit: one for each replica that ever wrote, `SOLE_CHAIN` where there is one engine of one process. */
  auditChains(): Promise<string[]>;
  auditEnd(chain: string): Promise<{ seq: number; hash: string } | undefined>;
  appendAudit(chain: string, entry: AuditEntry, head: AuditHead): Promise<void>;
  auditHead(chain: string): Promise<AuditHead | undefined>;
  auditEntries(chain: string, afterSeq: number, limit: number): Promise<AuditEntry[]>;
  /** The first entry whose time is `at` (RFC 3339) or later; one after the last if there is none. */
  auditSeqAt(chain: string, at: string): Promise<number>;
  /** Forgets the entries up to and including `uptoSeq`, but for the last one, from which the chain goes on. */
  pruneAudit(chain: string, uptoSeq: number): Promise<void>;
}

/** A join token that waits for its use. */
export interface JoinTokenRow {
  invitation: JoinTokenRequest;
  expiresAtMs: number;
}

/** The chain of the audit where one process alone writes the database. */
export const SOLE_CHAIN = 'store';

/** Where the store's records live: sqlite/ for one process, postgres/ for several; nothing above them knows which. */
export interface Repository {
  /** The chain of the audit that this process writes. */
  readonly chain: string;
  /**
   * Runs `work` alone, in a transaction: what it resolves to is durable then, and if it throws nothing of it remains.
   *
   * `work` touches only `tx`, and may be run again if another process was in its way. @throws StorageFailed if the database could not be written.
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  /**
   * Runs `work`, which only reads and may take its time, on what is committed at one moment, beside other transactions. @throws StorageFailed
   */
  snapshot<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  load(): Promise<Snapshot>;
  /** Resolves once what any process had committed before the call was told to the listeners. @throws StorageFailed */
  caughtUp(): Promise<void>;
  /**
   * Whether this process does the work of that name until `seconds` from now, by the clock of the database: it does if no other does. What it
   * then does must still be fenced, such as by the version that it replaces, for it may be slower than its time. @throws StorageFailed
   */
  holdWork(name: string, seconds: number): Promise<boolean>;
  /** Called after each commit, also of other processes, in order; of one's own before the promises of its transactions resolve. */
  onCommit(listener: (changes: readonly Change[]) => void): void;
  /** Called when the database has not been heard of for so long that what others revoke may be missed here. */
  onDetached(listener: () => void): void;
  /** Takes what was deleted out of the files too, where the engine leaves it in a log of its own until that is written over. */
  compact?(): Promise<void>;
  close(): Promise<void>;
}
