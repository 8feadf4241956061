import { randomBytes } from 'node:crypto';
import type { CredentialRecord, LeaseRequest } from '../api/protocol.ts';
import type { Session } from '../api/session.ts';
import type { Clock } from '../lib/clock.ts';
import type { Audit } from './audit/audit.ts';
import type { Refusals } from './audit/refusals.ts';
import { storeError } from './errors.ts';
import type { Identities, Identity } from './identity/identities.ts';
import type { Materials } from './material/materials.ts';
import type { Change, MaterialHead, Repository, RevocationRow, Transaction } from './persist/repository.ts';
import { meansSession } from './revocation/standing.ts';
import type { SessionLimits } from './sessionLimits.ts';
import type { State } from './state.ts';

export interface LeasesOptions {
  clock: Clock;
  limits: SessionLimits;
  repository: Repository;
  audit: Audit;
  refusals: Refusals;
  state: State;
  identities: Identities;
  materials: Materials;
}

/** A lease on its way to a session; whoever has it overwrites `frame` once it is sent. */
export interface IssuedLease {
  id: string;
  version: number;
  expiresInSeconds: number;
  /** Good for one request. */
  single: boolean;
  frame: Buffer;
}

/** Gives credentials to sessions for a time: default deny, and on record before a byte of material leaves. */
export class Leases {
  readonly #o: LeasesOptions;
  /** Session → its leases by id; `endMs` is monotonic. */
  readonly #running = new Map<string, Map<string, { credential: string; endMs: number }>>();

  constructor(options: LeasesOptions) {
    this.#o = options;
  }

  /** @throws TooManyRequests, Revoked, NotGranted, MaterialMissing, MaterialExpired, UsesExhausted, SidecarTooOld, MaterialDamaged, StorageFailed, IdentityRevoked */
  async issue(identity: Identity & { kind: 'session' }, request: LeaseRequest, from: string): Promise<IssuedLease> {
    const { clock, limits, refusals } = this.#o;
    const { session } = identity;
    try {
      limits.take(session, 'leases');
      const issued = await this.#issue(session, request, from);
      await this.#checkAgain(identity, request, issued);
      const running = this.#running.get(session.id) ?? new Map();
      const nowMs = clock.monotonicMs();
      for (const [id, { endMs }] of running) if (endMs <= nowMs) running.delete(id);
      const { credential } = request;
      this.#running.set(
        session.id,
        running.set(issued.id, { credential, endMs: nowMs + issued.expiresInSeconds * 1000 }),
      );
      return issued;
    } catch (error) {
      refusals.record('lease.refused', error, { session: session.id, ...request, from });
      throw error;
    }
  }

  /** How many leases of the session run now. */
  count(session: Session): number {
    const nowMs = this.#o.clock.monotonicMs();
    return [...(this.#running.get(session.id)?.values() ?? [])].filter(({ endMs }) => endMs > nowMs).length;
  }

  changed(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'session' && change.endReason !== undefined) this.#running.delete(change.session.id);
      if (change.kind === 'revocation' && change.revocation !== undefined) this.#revoked(change.revocation);
    }
  }

  #revoked({ selector, session: holder }: RevocationRow): void {
    if ('lease' in selector) {
      this.#running.get(holder ?? '')?.delete(selector.lease);
      return;
    }
    for (const [id, running] of this.#running) {
      const session = this.#o.identities.session(id);
      if (session === undefined || meansSession(selector, session)) this.#running.delete(id);
      else if ('credential' in selector)
        for (const [lease, { credential }] of running) if (credential === selector.credential) running.delete(lease);
    }
  }

  /** What was revoked while the record was being written, in whichever process, is not given out. */
  async #checkAgain(
    identity: Identity & { kind: 'session' },
    request: LeaseRequest,
    issued: IssuedLease,
  ): Promise<void> {
    const { clock, identities, repository } = this.#o;
    try {
      await repository.caughtUp();
      // Its labels may be others by now.
      const session = identities.alive(identity) ? identities.session(identity.session.id) : undefined;
      if (session === undefined) throw storeError('IdentityRevoked');
      this.#authorise(session, request);
    } catch (error) {
      issued.frame.fill(0);
      await repository.transaction((tx) => tx.leases.end(issued.id, clock.nowMs()));
      throw error;
    }
  }

  async #issue(session: Session, request: LeaseRequest, from: string): Promise<IssuedLease> {
    const { audit, clock, materials, repository } = this.#o;
    const { credential, refusedVersion } = request;
    const { integration, record } = this.#authorise(session, request);
    const { maxUses } = record;
    const id = randomBytes(16).toString('hex');
    let frame: Buffer | undefined;
    let version = 0;
    let expiresInSeconds = 0;
    try {
      await repository.transaction(async (tx) => {
        frame?.fill(0);
        const opened = await materials.openInForce(tx, credential, record.source);
        frame = opened.frame;
        version = opened.material.version;
        expiresInSeconds = this.#secondsOf(opened.material, record);
        if (maxUses !== undefined) await this.#count(tx, { credential, version, maxUses });
        const issuedAtMs = clock.nowMs();
        const expiresAtMs = issuedAtMs + expiresInSeconds * 1000;
        await tx.leases.put({ id, sessionId: session.id, credential, version, issuedAtMs, expiresAtMs });
        await audit.append(tx, {
          kind: 'lease.issued',
          lease: id,
          session: session.id,
          namespace: session.namespace,
          serviceAccount: session.serviceAccount,
          pod: session.pod,
          role: session.role,
          tags: session.tags,
          requester: session.requester,
          credential,
          version,
          refusedVersion,
          ...(maxUses !== undefined && { maxUses }),
          integration,
          expiresAt: new Date(expiresAtMs).toISOString(),
          from,
        });
      });
    } catch (error) {
      frame?.fill(0);
      throw error;
    }
    return { id, version, expiresInSeconds, single: maxUses !== undefined, frame: frame! };
  }

  /** Of this lease, too. @throws UsesExhausted */
  async #count(
    tx: Transaction,
    { credential, maxUses, version }: { credential: string; version: number; maxUses: number },
  ): Promise<void> {
    const count = 1 + (await tx.leases.count(credential, version));
    if (count > maxUses) throw usesExhausted(credential, version, maxUses);
    if (count === maxUses) await tx.leases.tell({ credential, version, count });
  }

  #authorise(session: Session, request: LeaseRequest): { integration: string; record: CredentialRecord } {
    const { state } = this.#o;
    const { credential } = request;
    const grant = state.grantFor(session, credential);
    const record = state.credentials.get(credential);
    if (grant === undefined || record === undefined) throw storeError('NotGranted');
    const revocation = state.revokedBy(session, credential);
    if (revocation !== undefined)
      throw storeError(
        'Revoked',
        `Revocation ${revocation.id} stands; lift it with: sidekey revoke lift ${revocation.id}`,
      );
    if (grant.single && !request.single) throw storeError('SidecarTooOld');
    const head = state.materialInForce(credential);
    if (head === undefined) throw storeError('MaterialMissing');
    this.#secondsOf(head, record);
    return { integration: grant.integration, record };
  }

  /** A lease ends with the life of its version at the latest. @throws MaterialExpired */
  #secondsOf(head: MaterialHead, record: CredentialRecord): number {
    const leftSeconds = this.#o.state.ages.leftSeconds(head, record);
    if (leftSeconds >= 1) return Math.min(record.leaseSeconds, Math.floor(leftSeconds));
    throw storeError(
      'MaterialExpired',
      `Version ${head.version} of ${head.credential} is older than its maxLifetime of ${record.maxLifetimeSeconds} s; give it a new value.`,
    );
  }
}

function usesExhausted(credential: string, version: number, maxUses: number): Error {
  return storeError(
    'UsesExhausted',
    `Version ${version} of ${credential} was leased as often as its maxUses allows (${maxUses}); give it a new value.`,
  );
}
