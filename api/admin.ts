import type { IdentityKind, StoredCredential } from './protocol.ts';
import type { Session } from './session.ts';

/**
 * What the owner of a store says to it: HTTP on a Unix socket (mode 0600) in the state directory, so that the file system
 * says who may; on Kubernetes the same routes over mTLS. Material travels in frames (fields.ts), never in JSON.
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
 * | GET /v1/admin/audit?after=SEQ&limit=N&follow=true | AuditEntry, one JSON object a line |
 * | GET /v1/admin/audit/head | AuditHead |
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

/** The end of the chain as the store has signed it (Ed25519 over `seq`, `hash` and `at`). */
export interface AuditHead {
  seq: number;
  hash: string;
  at: string;
  signature: string;
  publicKeyPem: string;
}
