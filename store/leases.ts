import { randomBytes } from 'node:crypto';
import type { LeaseRequest } from '../api/protocol.ts';
import type { Session } from '../api/session.ts';
import type { Clock } from '../lib/clock.ts';
import type { Audit } from './audit/audit.ts';
import type { Refusals } from './audit/refusals.ts';
import type { Settings } from './config.ts';
import { storeError } from './errors.ts';
import type { Identities, Identity } from './identity/identities.ts';
import type { Materials } from './material/materials.ts';
import type { Change, Repository } from './persist/repository.ts';
import { RateLimit } from './rateLimit.ts';
import type { State } from './state.ts';

export interface LeasesOptions {
  clock: Clock;
  settings: Settings;
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

interface Held {
  limit: RateLimit;
  /** Monotonic milliseconds at which each lease ends, oldest first. */
  endsMs: number[];
}

/** Gives credentials to sessions for a time: default deny, and on record before a byte of material leaves. */
export class Leases {
  readonly #o: LeasesOptions;
  readonly #held = new Map<string, Held>();

  constructor(options: LeasesOptions) {
    this.#o = options;
  }

  /** @throws TooManyRequests, NotGranted, MaterialMissing, MaterialDamaged, StorageFailed, IdentityRevoked */
  async issue(identity: Identity & { kind: 'session' }, request: LeaseRequest, from: string): Promise<IssuedLease> {
    const { session } = identity;
    try {
      if (!this.#heldBy(session).limit.take()) throw storeError('TooManyRequests');
      const issued = await this.#issue(session, request, from);
      try {
        // Once more: what was revoked while the record was being written is not given out.
        if (!this.#o.identities.alive(identity)) throw storeError('IdentityRevoked');
        this.#authorise(session, request.credential);
      } catch (error) {
        issued.frame.fill(0);
        throw error;
      }
      return issued;
    } catch (error) {
      this.#o.refusals.record('lease.refused', error, { session: session.id, ...request, from });
      throw error;
    }
  }

  /** How many leases of the session run now. */
  count(session: Session): number {
    const held = this.#held.get(session.id);
    if (held === undefined) return 0;
    const nowMs = this.#o.clock.monotonicMs();
    held.endsMs = held.endsMs.filter((endMs) => endMs > nowMs);
    return held.endsMs.length;
  }

  changed(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'session' && change.endReason !== undefined) this.#held.delete(change.session.id);
    }
  }

  async #issue(session: Session, request: LeaseRequest, from: string): Promise<IssuedLease> {
    const { audit, clock, materials, repository } = this.#o;
    const { credential, refusedVersion } = request;
    const { integration, version, leaseSeconds } = this.#authorise(session, credential);
    const id = randomBytes(16).toString('hex');
    let frame: Buffer | undefined;
    try {
      await repository.transaction(async (tx) => {
        const material = await tx.material(credential, version);
        if (material === undefined) throw storeError('MaterialMissing');
        frame = await materials.open(tx, material);
        const issuedAtMs = clock.nowMs();
        const expiresAtMs = issuedAtMs + leaseSeconds * 1000;
        await tx.putLease({ id, sessionId: session.id, credential, version, issuedAtMs, expiresAtMs });
        await audit.append(tx, {
          kind: 'lease.issued',
          lease: id,
          session: session.id,
          namespace: session.namespace,
          serviceAccount: session.serviceAccount,
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
    const held = this.#heldBy(session);
    this.count(session);
    held.endsMs.push(clock.monotonicMs() + leaseSeconds * 1000);
    return { id, version, expiresInSeconds: leaseSeconds, frame: frame! };
  }

  #authorise(session: Session, credential: string): { integration: string; version: number; leaseSeconds: number } {
    const { state } = this.#o;
    const grant = state.grantFor(session, credential);
    const record = state.credentials.get(credential);
    if (grant === undefined || record === undefined) throw storeError('NotGranted');
    const version = state.versionOf(credential);
    if (version === 0) throw storeError('MaterialMissing');
    return { integration: grant.integration, version, leaseSeconds: record.leaseSeconds };
  }

  #heldBy(session: Session): Held {
    let held = this.#held.get(session.id);
    if (held === undefined) {
      const { clock, settings } = this.#o;
      held = {
        limit: new RateLimit({ clock, burst: settings.leaseBurst, perSecond: settings.leasesPerSecond }),
        endsMs: [],
      };
      this.#held.set(session.id, held);
    }
    return held;
  }
}
