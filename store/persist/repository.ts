import type { AuditEntry, AuditHead, JoinTokenRequest } from '../../api/admin.ts';
import type { CredentialRecord, IdentityKind, IntegrationRecord } from '../../api/protocol.ts';
import type { Selector } from '../../api/revocation.ts';
import type { Session } from '../../api/session.ts';
import type { WrappedKey } from '../vault/kek.ts';

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

/** How often the newest version of a credential was leased, as far as somebody counted: where `maxUses` may be used up by it. */
export interface VersionUses {
  credential: string;
  version: number;
  count: number;
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
  /** A count of leases that somebody asked for, or by which maxUses is used up. */
  | { kind: 'uses'; uses: VersionUses }
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

/** Credentials or Integrations, by their keys. */
export interface ObjectTable<R> {
  get(key: string): Promise<R | undefined>;
  put(key: string, record: R): Promise<void>;
  delete(key: string): Promise<void>;
  /** Those with a key after `afterKey`, in order. */
  page(afterKey: string, limit: number): Promise<{ key: string; record: R }[]>;
}

/** The tables, to read and write within one transaction. */
export interface Transaction {
  meta: {
    get(name: string): Promise<Buffer | undefined>;
    set(name: string, value: Buffer): Promise<void>;
    delete(name: string): Promise<void>;
    /** Those that begin with `prefix`, in order. */
    names(prefix: string): Promise<string[]>;
  };
  credentials: ObjectTable<CredentialRecord>;
  integrations: ObjectTable<IntegrationRecord>;
  dataKeys: {
    get(credential: string): Promise<WrappedKey | undefined>;
    put(credential: string, key: WrappedKey): Promise<void>;
    /** Those of the credentials after `afterCredential`, in order of the credential. */
    page(afterCredential: string, limit: number): Promise<{ credential: string; key: WrappedKey }[]>;
  };
  materials: {
    newest(credential: string): Promise<SealedMaterial | undefined>;
    /** Highest version that the credential ever had, 0 for none: kept when material is deleted, so that versions never go back. */
    lastVersion(credential: string): Promise<number>;
    /** @throws Error unless its version is higher than any before. */
    put(material: SealedMaterial): Promise<void>;
    /** Versions below `version`. */
    deleteBefore(credential: string, version: number): Promise<void>;
    /** All versions, and the data key. */
    delete(credential: string): Promise<void>;
  };
  sessions: {
    put(session: Session): Promise<void>;
    /** Takes the place of the record of the same id; whether it has not ended. */
    change(session: Session): Promise<boolean>;
    /** Whether it had not ended before. */
    end(session: Session, atMs: number, reason: string): Promise<boolean>;
  };
  identities: { put(identity: IdentityRow): Promise<void> };
  revocations: {
    all(): Promise<RevocationRow[]>;
    put(revocation: RevocationRow): Promise<void>;
    delete(id: string): Promise<void>;
  };
  leases: {
    get(id: string): Promise<LeaseRow | undefined>;
    put(lease: LeaseRow): Promise<void>;
    /** Those of the session that run at that time, oldest first. */
    running(sessionId: string, nowMs: number): Promise<LeaseRow[]>;
    /** Does nothing to one that has ended. */
    end(id: string, atMs: number): Promise<void>;
    /** How many were ever issued of that version; known while there is no newer one. */
    count(credential: string, version: number): Promise<number>;
    /** Has the count told to all replicas, once this is committed. */
    tell(uses: VersionUses): Promise<void>;
    /** Counts leases that there is no record of here: those of a database that was restored. */
    addCount(credential: string, version: number, count: number): Promise<void>;
  };
  joinTokens: {
    /** `digest` is the SHA-256 of the token. */
    put(digest: string, token: JoinTokenRow): Promise<void>;
    /** Gives a token once, and only before it expires. */
    take(digest: string, nowMs: number): Promise<JoinTokenRow | undefined>;
    /** How many wait for their use. */
    count(nowMs: number): Promise<number>;
  };
  audit: {
    /** Names of all: one for each replica that ever wrote, `SOLE_CHAIN` where there is one engine of one process. */
    chains(): Promise<string[]>;
    end(chain: string): Promise<{ seq: number; hash: string } | undefined>;
    append(chain: string, entry: AuditEntry, head: AuditHead): Promise<void>;
    head(chain: string): Promise<AuditHead | undefined>;
    entries(chain: string, afterSeq: number, limit: number): Promise<AuditEntry[]>;
    /** The first entry whose time is `at` (RFC 3339) or later; one after the last if there is none. */
    seqAt(chain: string, at: string): Promise<number>;
    /** Forgets the entries up to and including `uptoSeq`, but for the last one, from which the chain goes on. */
    prune(chain: string, uptoSeq: number): Promise<void>;
  };
  /** Forgets identities, ended sessions, leases and join tokens that were over before then. */
  prune(beforeMs: number): Promise<void>;
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
