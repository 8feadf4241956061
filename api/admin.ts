import type { IdentityKind, StoredCredential } from './protocol.ts';
import type { Session } from './session.ts';

/**
 * What the owner of a store says to it: HTTP on a Unix socket (mode 0600) in the state directory, so that the file system
 * says who may; in a cluster it is reached by exec into the store's pod (docs/adr/0026-admin-api-through-exec.md). Material travels in frames (fields.ts), never in JSON.
 *
 * | request | answer |
 * |---|---|
 * | POST /v1/admin/join-tokens JoinTokenRequest | JoinTokenAnswer |
 * | GET /v1/admin/credentials | AdminCredential[] |
 * | PUT /v1/admin/credentials/NS/NAME/material (material frame) | StoredCredential |
 * | GET /v1/admin/credentials/NS/NAME/material | material frame (source `generated` only; audited) |
 * | DELETE /v1/admin/credentials/NS/NAME/material | 204 |
 * | GET /v1/admin/sessions | AdminSession[] |
 * | DELETE /v1/admin/sessions/ID | 204: the session ends at once |
 * | DELETE /v1/admin/sessions?pod=UID or ?session=ID | 204: those sessions end at once, if there are any |
 * | GET /v1/admin/revocations | Revocation[] (revocation.ts): what stands |
 * | POST /v1/admin/revocations RevocationRequest | RevocationAnswer |
 * | DELETE /v1/admin/revocations?id=ID | Revocation: it was lifted |
 * | GET /v1/admin/audit?chain=NAME&after=SEQ&since=TIME&until=TIME&kind=KIND&limit=N&follow=true | AuditEntry, one JSON object a line |
 * | GET /v1/admin/ca | CaStatus |
 * | POST /v1/admin/ca/rotate CaRotateRequest | CaStatus: a new intermediate issues, or the change of the root has begun |
 * | POST /v1/admin/backup (material frame: `header` as `sidekey backup` makes it, and `key` of 32 bytes) | the sealed backup |
 * | GET /v1/admin/audit/head | AuditHead |
 * | GET /v1/admin/audit/chains | AuditChain[] |
 * | POST /v1/admin/audit/prune AuditPruneRequest | AuditPruned[] |
 * | POST /v1/admin/audit/key | AuditKeyAnswer: heads are signed with a new key from now on |
 */
export interface JoinTokenRequest {
  kind: IdentityKind;
  /** Only for kind session. */
  session?: Omit<Session, 'id' | 'startedAt'>;
}

/** A token is good for one join within `expiresInSeconds`. */
export interface JoinTokenAnswer {
  joinToken: string;
  expiresInSeconds: number;
  /** What whoever joins with it verifies the store by. */
  trustBundlePem?: string;
}

export interface AdminCredential extends Omit<StoredCredential, 'source'> {
  /** Absent where material was set before any Credential names it. */
  source?: StoredCredential['source'];
  /** RFC 3339 of the version in force. */
  updatedAt?: string;
}

export interface AdminSession extends Session {
  lastSeenAt: string;
  leases: number;
}

export interface CaRotateRequest {
  root?: boolean;
}

/** A certificate of the store's own CAs, and how many certificates in force stand under it. Times are RFC 3339. */
export interface CaCertificate {
  id: string;
  subject: string;
  /** SHA-256. */
  fingerprint: string;
  validFrom: string;
  validTo: string;
  /** `validFrom` is before that, for clocks that are behind. */
  createdAt: string;
  /** When it is replaced by age. */
  rotatesAt?: string;
  certificates: number;
}

export interface CaStatus {
  roots: (CaCertificate & { state: 'active' | 'published' | 'retiring' })[];
  intermediates: (CaCertificate & { root: string; state: 'active' | 'retiring' })[];
  /** Certificates in force that no known intermediate has issued: those of a store before there were any. */
  issuedByRoot: number;
  /** A change of the root under way. */
  rotation?: {
    phase: 'published' | 'switched';
    root: string;
    since: string;
    /** The next step is not before then. */
    notBefore: string;
    /** Certificates in force that have to be renewed or run out first. */
    waitsFor: number;
  };
}

/** One link of the audit chain: `hash` is SHA-256 over `previousHash` and the canonical JSON of the rest (lib/auditChain.ts). */
export interface AuditEntry {
  /** The replica whose chain it is in; `seq` counts within it. */
  chain?: string;
  seq: number;
  /** RFC 3339 with milliseconds. */
  at: string;
  event: AuditEvent;
  previousHash: string;
  hash: string;
}

/** What happened, in the store's words; `kind` is `noun.verb`, the rest depends on it and never holds material. */
export type AuditEvent = { kind: string } & Record<string, unknown>;

/** The end of the chain as the store has signed it (Ed25519 over everything but signature and key). */
export interface AuditHead {
  /** As in AuditEntry. */
  chain?: string;
  seq: number;
  hash: string;
  at: string;
  signature: string;
  publicKeyPem: string;
}

/**
 * Where a chain begins after entries were pruned: `seq` and `hash` are those of the last pruned one, so that the next one can be
 * checked. Signed as a head is, and itself on record in the chain by an entry `audit.pruned`.
 */
export interface AuditCheckpoint extends AuditHead {
  /** How many entries were ever pruned from the chain. */
  pruned: number;
}

/** The new key signs what the old one signs: each vouches for the other. On record in each chain by an entry `audit.key-rotated`. */
export interface AuditKeyLink {
  previousPublicKeyPem: string;
  publicKeyPem: string;
  /** Ed25519 over both keys, by the previous one. */
  previousSignature: string;
  /** The same by the new one. */
  signature: string;
}

export interface AuditChain {
  chain: string;
  /** Whether the process that answers writes it. */
  own: boolean;
  head?: AuditHead;
  /** Where it begins, if not at entry 1. */
  checkpoint?: AuditCheckpoint;
}

export interface AuditPruneRequest {
  /** RFC 3339; entries from then on stay, and always the last one. */
  before: string;
}

export interface AuditPruned {
  chain: string;
  /** Entries that went now. */
  pruned: number;
  checkpoint?: AuditCheckpoint;
}

export interface AuditKeyAnswer {
  publicKeyPem: string;
}
