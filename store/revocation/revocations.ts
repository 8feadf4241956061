import {
  type Revocation,
  type RevocationAnswer,
  type RevocationRequest,
  type RevokedLease,
  type RevokedSession,
  type Selector,
  selectorId,
} from '../../api/revocation.ts';
import type { Session } from '../../api/session.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Audit } from '../audit/audit.ts';
import { storeError } from '../errors.ts';
import type { Identities } from '../identity/identities.ts';
import type { LeaseRow, Repository, RevocationRow } from '../persist/repository.ts';
import type { Sessions } from '../sessions.ts';
import type { State } from '../state.ts';
import { meansSession } from './standing.ts';

/** How many sessions, and how many leases, an answer names. */
const LISTED_LIMIT = 1_000;
/** Sessions whose leases are looked at in one transaction, so that nobody waits long for theirs. */
const PAGE_SESSIONS = 128;

export interface RevocationsOptions {
  clock: Clock;
  repository: Repository;
  audit: Audit;
  state: State;
  identities: Identities;
  sessions: Sessions;
}

/** Takes access away, on the owner's word: durable and told to sidecars before it is answered; to do it twice is to do it once. */
export class Revocations {
  readonly #o: RevocationsOptions;

  constructor(options: RevocationsOptions) {
    this.#o = options;
  }

  /** What stands until it is lifted. */
  list(): Revocation[] {
    return [...this.#o.state.revocations.rows()].filter(({ selector }) => !('lease' in selector)).map(revocationOf);
  }

  /** @throws NotFound for a lease or session that there never was */
  revoke(request: RevocationRequest, by: string): Promise<RevocationAnswer> {
    const { selector } = request;
    if ('lease' in selector) return this.#revokeLease(selector.lease, request, by);
    if ('session' in selector) return this.#revokeSession(selector.session, request, by);
    return this.#revokeStanding(selector, request, by);
  }

  /** Gives back what was taken: sidecars hear of it as of any grant. @throws NotFound */
  async lift(id: string, by: string): Promise<Revocation> {
    const { audit, repository, state } = this.#o;
    const row = state.revocations.get(id);
    if (row === undefined)
      throw storeError('NotFound', `There is no revocation ${id}; it may have been lifted already.`);
    if ('lease' in row.selector) throw storeError('NotFound', 'A lease that was revoked stays so.');
    await repository.transaction(async (tx) => {
      await tx.revocations.delete(id);
      await audit.append(tx, { kind: 'revocation.lifted', revocation: id, selector: row.selector, by });
    });
    return revocationOf(row);
  }

  /** Forgets revoked leases whose time is over by now. */
  async prune(): Promise<void> {
    const nowMs = this.#o.clock.nowMs();
    const over = [...this.#o.state.revocations.rows()].filter(
      ({ untilMs }) => untilMs !== undefined && untilMs < nowMs,
    );
    if (over.length === 0) return;
    await this.#o.repository.transaction(async (tx) => {
      for (const { id } of over) await tx.revocations.delete(id);
    });
  }

  async #revokeLease(id: string, request: RevocationRequest, by: string): Promise<RevocationAnswer> {
    const { audit, clock, identities, repository } = this.#o;
    const { dryRun = false, reason = '', selector } = request;
    const nowMs = clock.nowMs();
    const { already, lease } = await repository.transaction(async (tx) => {
      const lease = await tx.leases.get(id);
      if (lease === undefined) throw storeError('NotFound', `There is no lease ${id}; the audit tells what was.`);
      const already = lease.endedAtMs !== undefined || lease.expiresAtMs <= nowMs;
      if (!already && !dryRun) {
        const { credential, expiresAtMs, sessionId, version } = lease;
        await tx.leases.end(id, nowMs);
        await tx.revocations.put({
          id: selectorId(selector),
          selector,
          atMs: nowMs,
          by,
          reason,
          session: sessionId,
          untilMs: expiresAtMs,
        });
        await audit.append(tx, {
          kind: 'lease.revoked',
          lease: id,
          session: sessionId,
          credential,
          version,
          by,
          reason,
        });
      }
      return { already, lease };
    });
    const session = identities.session(lease.sessionId);
    return answer({ dryRun, already }, session === undefined ? [] : [session], already ? [] : [lease]);
  }

  async #revokeSession(id: string, request: RevocationRequest, by: string): Promise<RevocationAnswer> {
    const { identities, repository, sessions } = this.#o;
    const { dryRun = false, reason = '' } = request;
    await repository.caughtUp();
    const session = identities.session(id);
    if (session === undefined) throw storeError('NotFound', `There is no session ${id}; it may have ended already.`);
    // Its sidecar would begin another one at once: it stands against the pod, which lives and dies with the session.
    if (session.pod !== undefined) return this.#revokeStanding({ pod: session.pod.uid }, request, by);
    const leases = await this.#leasesOf([session]);
    if (!dryRun)
      await sessions.end(session, reason === '' ? `revoked by the ${by}` : `revoked by the ${by}: ${reason}`);
    return answer({ dryRun, already: false }, [session], leases);
  }

  async #revokeStanding(selector: Selector, request: RevocationRequest, by: string): Promise<RevocationAnswer> {
    const { audit, clock, identities, repository, sessions, state } = this.#o;
    const { dryRun = false, reason = '' } = request;
    await repository.caughtUp();
    const id = selectorId(selector);
    const before = state.revocations.get(id);
    const row: RevocationRow = before ?? { id, selector, atMs: clock.nowMs(), by, reason };
    const hit = [...identities.sessions()].filter((session) => this.#hits(selector, session));
    if (before === undefined && !dryRun) {
      await repository.transaction(async (tx) => {
        await tx.revocations.put(row);
        await audit.append(tx, { kind: 'revocation.made', revocation: id, selector, by, reason, sessions: hit.length });
      });
    }
    if ('pod' in selector && !dryRun) await sessions.endPod(selector.pod, `revoked by the ${by}`);
    // Nothing hangs on the leases that are still written as running: their sidecars were told with the commit.
    const leases = await this.#leasesOf(hit, 'credential' in selector ? selector.credential : undefined);
    if (!dryRun) await this.#end(leases, id);
    return { ...answer({ dryRun, already: before !== undefined }, hit, leases), revocation: revocationOf(row) };
  }

  #hits(selector: Selector, session: Session): boolean {
    if ('credential' in selector) return this.#o.state.grantFor(session, selector.credential) !== undefined;
    return meansSession(selector, session);
  }

  async #leasesOf(sessions: readonly Session[], credential?: string): Promise<LeaseRow[]> {
    const found: LeaseRow[] = [];
    const nowMs = this.#o.clock.nowMs();
    for (const page of pages(sessions)) {
      await this.#o.repository.transaction(async (tx) => {
        for (const session of page) {
          for (const lease of await tx.leases.running(session.id, nowMs))
            if (credential === undefined || lease.credential === credential) found.push(lease);
        }
      });
    }
    return found;
  }

  async #end(leases: readonly LeaseRow[], revocation: string): Promise<void> {
    const { audit, clock, repository } = this.#o;
    for (const page of pages(leases)) {
      await repository.transaction(async (tx) => {
        for (const { id } of page) await tx.leases.end(id, clock.nowMs());
        await audit.append(tx, { kind: 'leases.ended', revocation, leases: page.map(({ id }) => id) });
      });
    }
  }
}

function answer(
  what: { dryRun: boolean; already: boolean },
  sessions: readonly Session[],
  leases: readonly LeaseRow[],
): RevocationAnswer {
  return {
    ...what,
    sessionCount: sessions.length,
    sessions: sessions.slice(0, LISTED_LIMIT).map(sessionOf),
    leaseCount: leases.length,
    leases: leases.slice(0, LISTED_LIMIT).map(leaseOf),
  };
}

function revocationOf({ id, selector, atMs, by, reason }: RevocationRow): Revocation {
  return { id, selector, at: new Date(atMs).toISOString(), by, reason };
}

function sessionOf({ id, namespace, requester, role, serviceAccount, tags }: Session): RevokedSession {
  return { id, namespace, serviceAccount, ...(role !== undefined && { role }), tags, requester };
}

function leaseOf({ id, sessionId, credential, version, expiresAtMs }: LeaseRow): RevokedLease {
  return { id, session: sessionId, credential, version, expiresAt: new Date(expiresAtMs).toISOString() };
}

function* pages<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let from = 0; from < all.length; from += PAGE_SESSIONS) yield all.slice(from, from + PAGE_SESSIONS);
}
