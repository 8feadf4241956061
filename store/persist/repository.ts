import type { AuditEntry, AuditHead } from '../../api/admin.ts';
import type { CredentialRecord, IdentityKind, IntegrationRecord } from '../../api/protocol.ts';
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
}

/** Something that is different since a transaction was committed; `undefined` members: it is gone. */
export type Change =
  | { kind: 'credential'; key: string; record: CredentialRecord | undefined }
  | { kind: 'material'; key: string; head: MaterialHead | undefined }
  | { kind: 'integration'; key: string; record: IntegrationRecord | undefined }
  | { kind: 'session'; session: Session; endReason?: string }
  | { kind: 'identity'; identity: IdentityRow }
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
}

/** Reads and writes within one transaction. */
export interface Transaction {
  meta(name: string): Promise<Buffer | undefined>;
  setMeta(name: string, value: Buffer): Promise<void>;

  credential(key: string): Promise<CredentialRecord | undefined>;
  putCredential(key: string, record: CredentialRecord): Promise<void>;
  deleteCredential(key: string): Promise<void>;

  putIntegration(key: string, record: IntegrationRecord): Promise<void>;
  deleteIntegration(key: string): Promise<void>;

  dataKey(credential: string): Promise<WrappedKey | undefined>;
  putDataKey(credential: string, key: WrappedKey): Promise<void>;
  /** The newest version. */
  material(credential: string): Promise<SealedMaterial | undefined>;
  /** Highest version that the credential ever had, 0 for none: kept when material is deleted, so that versions never go back. */
  lastVersion(credential: string): Promise<number>;
  putMaterial(material: SealedMaterial): Promise<void>;
  /** Versions below `before`. */
  deleteOldMaterial(credential: string, before: number): Promise<void>;
  /** All versions, and the data key. */
  deleteMaterial(credential: string): Promise<void>;

  putSession(session: Session): Promise<void>;
  endSession(session: Session, atMs: number, reason: string): Promise<void>;
  putIdentity(identity: IdentityRow): Promise<void>;
  putLease(lease: LeaseRow): Promise<void>;
  /** Forgets identities, ended sessions and leases that were over before then. */
  prune(beforeMs: number): Promise<void>;

  auditEnd(): Promise<{ seq: number; hash: string } | undefined>;
  appendAudit(entry: AuditEntry, head: AuditHead): Promise<void>;
  auditHead(): Promise<AuditHead | undefined>;
  auditEntries(afterSeq: number, limit: number): Promise<AuditEntry[]>;
}

/**
 * Where the store's records live. One engine today (sqlite/); another needs these four methods and nothing above them changes.
 */
export interface Repository {
  /**
   * Runs `work` alone, in a transaction: what it resolves to is durable then, and if it throws nothing of it remains.
   *
   * `work` touches only `tx`. @throws StorageFailed if the database could not be written.
   */
  transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T>;
  load(): Promise<Snapshot>;
  /** Called after each commit, in order, before the promises of its transactions resolve. */
  onCommit(listener: (changes: readonly Change[]) => void): void;
  close(): Promise<void>;
}
