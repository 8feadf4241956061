import { randomBytes } from 'node:crypto';
import type { CredentialRecord, LeaseRequest } from '../api/protocol.ts';
import type { Session } from '../api/session.ts';
import type { Clock } from '../lib/clock.ts';
import type { Audit } from './audit/audit.ts';
import type { Refusals } from './audit/refusals.ts';
import { storeError } from './errors.ts';
import type { Identities, Identity } from './identity/identities.ts';
import type { Materials } from './material/materials.ts';
import type { Change, Repository } from './persist/repository.ts';
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
  frame: Buffer;
}

/** Gives credentials to sessions for a time: default deny, and on record before a byte of material leaves. */
export class Leases {
  readonly #o: LeasesOptions;
  /** Session → monotonic milliseconds at which each of its leases ends. */
  readonly #ends = new Map<string, number[]>();

  constructor(options: LeasesOptions) {
    this.#o = options;
  }

  /** @throws TooManyRequests, NotGranted, MaterialMissing, MaterialDamaged, StorageFailed, IdentityRevoked */
  async issue(identity: Identity & { kind: 'session' }, request: LeaseRequest, from: string): Promise<IssuedLease> {
    const { session } = identity;
    try {
      this.#o.limits.take(session, 'leases');
      const issued = await this.#issue(session, request, from);
      try {
        // Once more: what was revoked while the record was being written, here or at another replica, is not given out.
        await this.#o.repository.caughtUp();
        if (!this.#o.identities.alive(identity)) throw storeError('IdentityRevoked');
        this.#authorise(session, request.credential);
      } catch (error) {
        issued.frame.fill(0);
        throw error;
      }
      const endMs = this.#o.clock.monotonicMs() + issued.expiresInSeconds * 1000;
      this.#ends.set(session.id, [...this.#running(session), endMs]);
      return issued;
    } catch (error) {
      this.#o.refusals.record('lease.refused', error, { session: session.id, ...request, from });
      throw error;
    }
  }

  /** How many leases of the session run now. */
  count(session: Session): number {
    return this.#running(session).length;
  }

  changed(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'session' && change.endReason !== undefined) this.#ends.delete(change.session.id);
    }
  }

  async #issue(session: Session, request: LeaseRequest, from: string): Promise<IssuedLease> {
    const { audit, clock, materials, repository } = this.#o;
    const { credential, refusedVersion } = request;
    const { integration, leaseSeconds, source } = this.#authorise(session, credential);
    const id = randomBytes(16).toString('hex');
    let frame: Buffer | undefined;
    let version = 0;
    try {
      await repository.transaction(async (tx) => {
        const opened = await materials.openInForce(tx, credential, source);
        frame = opened.frame;
        version = opened.material.version;
        const issuedAtMs = clock.nowMs();
        const expiresAtMs = issuedAtMs + leaseSeconds * 1000;
        await tx.putLease({ id, sessionId: session.id, credential, version, issuedAtMs, expiresAtMs });
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
          integration,
          expiresAt: new Date(expiresAtMs).toISOString(),
          from,
        });
      });
    } catch (error) {
      frame?.fill(0);
      throw error;
    }
    return { id, version, expiresInSeconds: leaseSeconds, frame: frame! };
  }

  #authorise(
    session: Session,
    credential: string,
  ): Pick<CredentialRecord, 'leaseSeconds' | 'source'> & { integration: string } {
    const { state } = this.#o;
    const grant = state.grantFor(session, credential);
    const record = state.credentials.get(credential);
    if (grant === undefined || record === undefined) throw storeError('NotGranted');
    if (state.versionOf(credential) === 0) throw storeError('MaterialMissing');
    return { integration: grant.integration, leaseSeconds: record.leaseSeconds, source: record.source };
  }

  #running(session: Session): number[] {
    const nowMs = this.#o.clock.monotonicMs();
    return this.#ends.get(session.id)?.filter((endMs) => endMs > nowMs) ?? [];
  }
}
