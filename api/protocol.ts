import type { Grant } from './grant.ts';
import type { Session } from './session.ts';

/**
 * What sidecars, the operator and the store say to each other: HTTP/1.1 over mTLS, JSON bodies, material in binary ones
 * (fields.ts). This file is types and constants only: the sidecar imports it for free. protocolSchema.ts checks what arrives.
 *
 * | who | request | answer |
 * |---|---|---|
 * | anyone with a join token or a pod's token, no client certificate | POST /v1/join JoinRequest | JoinAnswer |
 * | sidecar, operator outside a cluster | POST /v1/renew RenewRequest | JoinAnswer |
 * | sidecar | GET /v1/session/events?cursor=CURSOR | SessionEvent, one JSON object a line, without end |
 * | sidecar | GET /v1/session/snapshot?cursor=CURSOR | the SessionEvents that the stream would begin with, and no more |
 * | sidecar | POST /v1/leases LeaseRequest | material frame with the LEASE_HEADERS |
 * | sidecar | POST /v1/usage UsageReport | 204 |
 * | sidecar | DELETE /v1/session | 204 |
 * | operator | GET /v1/objects | ObjectsAnswer |
 * | operator | GET /v1/objects/events | ObjectEvent, one a line, without end |
 * | operator | PUT, DELETE /v1/credentials/NS/NAME CredentialRecord | StoredCredential, 204 |
 * | operator | PUT /v1/credentials/NS/NAME/material (material frame) | StoredCredential |
 * | operator | PUT, DELETE /v1/integrations/NS/NAME IntegrationRecord | 204 |
 * | operator | GET /v1/sessions | SessionsAnswer |
 * | operator | PUT /v1/sessions?pod=UID SessionSubject | 204: the labels of the pod are others now |
 * | operator | DELETE /v1/sessions?pod=UID or ?session=ID | 204: those sessions end at once, if there are any |
 *
 * Errors are StoreError with the status of the store's error table.
 */

/** The DNS name in the store's certificate, by which clients verify it wherever it listens. */
export const STORE_DNS_NAME = 'store.sidekey.internal';

/** `kind` of an identity decides which of the routes above it may call. */
export type IdentityKind = 'session' | 'operator';

/** By a token of the admin API, or in a cluster by the pod's projected ServiceAccount token (audience `sidekey`). */
export type JoinProof = { joinToken: string } | { serviceAccountToken: string };
export type JoinRequest = JoinProof & {
  /** P-256 SubjectPublicKeyInfo, PEM: the key that the certificate is issued for. */
  publicKeyPem: string;
};
export type RenewRequest = Pick<JoinRequest, 'publicKeyPem'>;

export interface JoinAnswer {
  kind: IdentityKind;
  spiffeId: string;
  /** Only for kind session. */
  session?: Session;
  /** Leaf first, then intermediates. */
  certificatePem: string;
  /** What the caller trusts the store by from now on. */
  trustBundlePem: string;
  /** Seconds from now: relative, so that a skewed clock does not matter. */
  expiresInSeconds: number;
  renewInSeconds: number;
}

/** Bytes and newline-free JSON objects; `heartbeat` comes every HEARTBEAT_SECONDS, and whoever misses three reconnects. */
export type SessionEvent =
  /** The first, unless `resumed` is: everything this session may use. `versions`: credential → version in force (0: no material yet). */
  (
    | { type: 'snapshot'; grants: Grant[]; versions: Record<string, number>; revoked?: RevokedGrant[] }
    /** The first for a reader whose `cursor` is still known: what it was told before holds, but for what follows now. */
    | { type: 'resumed' }
    | { type: 'grant'; grant: Grant }
    /** With `revoked`: it would be granted if a revocation did not stand, so that its hosts are refused instead of passed through. */
    | { type: 'revoke'; integration: string; revoked?: RevokedGrant }
    /** One lease is no good any more: drop it and cut what runs under it. */
    | { type: 'lease-revoked'; lease: string }
    /** A new version of a credential is in force (lease it anew), or none any more (0: give up what is held). */
    | { type: 'version'; credential: string; version: number }
    /** Renew the certificate within that time, each at a moment of its own: what the store is trusted by has changed. */
    | { type: 'renew'; withinSeconds: number }
    /** The session is over; drop everything. */
    | { type: 'end'; reason: string }
    | { type: 'heartbeat' }
  ) & {
    /**
     * Only for readers that ask with a `cursor`, empty at first: what to ask with after this event to be told no more than was missed. An event
     * that changes something and has none makes the cursor before it void: others that belong to it follow.
     */
    cursor?: string;
  };

export const HEARTBEAT_SECONDS = 5;

/** A grant that a revocation takes away; `by` is the id of that (revocation.ts). */
export interface RevokedGrant {
  grant: Grant;
  by: string;
}

export interface LeaseRequest {
  credential: string;
  /** The lease is used for one request and no more: asked for where the grant says so, and not given without. */
  single?: true;
  /** The version an upstream has just refused: asks the source for a newer one. */
  refusedVersion?: number;
}

/** Headers of a lease answer. The time is relative, so that a skewed clock neither lengthens nor shortens a lease. */
export const LEASE_HEADERS = {
  id: 'sidekey-lease',
  version: 'sidekey-version',
  expiresInSeconds: 'sidekey-lease-expires-in',
  /** `1` on a lease that is good for one request. */
  single: 'sidekey-lease-single',
} as const;

/**
 * How often one request shape occurred in one reporting interval (≤ 1 s); under `audit: Strict` always exactly one request.
 *
 * What was added after the first version is optional, and a store drops members that it does not know: sidecars and stores one
 * version apart understand each other.
 */
export interface UsageRecord {
  /** Of the request, or of the first of `count`: unique, made by the sidecar, never shown to the agent. */
  requestId?: string;
  /** Of the last of `count`, if there is more than one. */
  lastRequestId?: string;
  /** Milliseconds since 1970 of the first one. */
  atMs: number;
  count: number;
  /** `host:port` of the upstream. */
  authority: string;
  method: string;
  /** Template of the path: what looks like an identifier is `{id}`, the query is left out; `*` where a batch has too many. */
  path: string;
  /** Status the agent got; 0 if it got none, or if this is an intended use. */
  status: number;
  /** Refusal code if the sidecar refused. */
  refusal?: string;
  integration?: string;
  /** Which of the Integration's rules decided, counted from 1; absent where none matched. */
  rule?: number;
  credential?: string;
  version?: number;
  leaseId?: string;
  bytesUp: number;
  bytesDown: number;
  /** Sum over all `count` requests. */
  durationMs: number;
}

export interface UsageReport {
  records: UsageRecord[];
  /** Records left out since the last report because a bound was reached; 0 in ordinary life. */
  dropped: number;
  /**
   * The records are uses that are about to happen, of Credentials with `audit: Strict`: each is sent upstream only once this
   * report was answered, which means that it is durable. What became of it follows in an ordinary report, by its `requestId`.
   */
  strict?: true;
}

/** What the operator tells the store of a Credential: its policy, not its material. */
export interface CredentialRecord {
  hosts: string[];
  leaseSeconds: number;
  /** Namespaces whose sessions may use it besides its own; `*` for all. */
  consumerNamespaces: string[];
  /** How many leases of one version there are at most, each good for one request. */
  maxUses?: number;
  /** From when on, counted from its writing, a version is not leased any more. */
  maxLifetimeSeconds?: number;
  /** Each use must be durable in the audit before it happens. */
  auditStrict?: true;
  source: 'secret' | 'store' | 'generated';
  generated?: {
    bytes: number;
    encoding: 'Base64URL' | 'Hex' | 'Alphanumeric';
    rotateSeconds?: number;
    overlapSeconds?: number;
  };
}

export interface StoredCredential {
  key: string;
  source: CredentialRecord['source'];
  /** 0: no material yet. */
  version: number;
  fields: string[];
  /** RFC 3339: when the version has lived as long as its Credential lets it; it may have passed. */
  expiresAt?: string;
  /** The version was leased as often as its Credential lets it. */
  usedUp?: true;
}

/** What the operator tells the store of an Integration; `subjects` are matched against session records there. */
export interface IntegrationRecord extends Omit<Grant, 'integration' | 'placeholder' | 'auditStrict' | 'single'> {
  subjects: { tags?: string[]; roles?: string[]; serviceAccounts?: string[] };
  placeholder: string;
}

/** Which sessions there are, for the operator to compare with the living pods. */
export interface SessionsAnswer {
  sessions: Pick<Session, 'id' | 'namespace' | 'serviceAccount' | 'role' | 'tags' | 'pod'>[];
}

/** What a pod's labels say of it now. */
export type SessionSubject = Pick<Session, 'role' | 'tags'>;

export interface ObjectsAnswer {
  credentials: (StoredCredential & { record: CredentialRecord })[];
  integrations: { key: string; record: IntegrationRecord }[];
}

export type ObjectEvent =
  | { type: 'ready' }
  /** As in SessionEvent. */
  | { type: 'renew'; withinSeconds: number }
  | { type: 'credential'; credential: StoredCredential }
  | { type: 'heartbeat' };

export interface StoreError {
  code: string;
  message: string;
}
