import { type Selector, selectorId } from '../../api/revocation.ts';
import type { Session } from '../../api/session.ts';
import type { Subject } from '../grants.ts';
import type { Change, RevocationRow } from '../persist/repository.ts';

/** What stands revoked now, in memory: follows each commit. Found by the ids of what could mean a session, not by a search. */
export class Standing {
  readonly #rows = new Map<string, RevocationRow>();
  /** Session → its leases that were revoked and would still run. */
  readonly #leases = new Map<string, Set<string>>();

  constructor(rows: readonly RevocationRow[]) {
    for (const row of rows) this.#set(row.id, row);
  }

  apply(changes: readonly Change[]): void {
    for (const change of changes) if (change.kind === 'revocation') this.#set(change.id, change.revocation);
  }

  get(id: string): RevocationRow | undefined {
    return this.#rows.get(id);
  }

  rows(): IterableIterator<RevocationRow> {
    return this.#rows.values();
  }

  /** The revocation that takes everything from all whom it cannot tell from the session. */
  ofSubject(session: Subject): RevocationRow | undefined {
    if (this.#rows.size === 0) return undefined;
    for (const selector of selectorsOf(session)) {
      const found = this.#rows.get(selectorId(selector));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  ofPod(uid: string | undefined): RevocationRow | undefined {
    return uid === undefined || this.#rows.size === 0 ? undefined : this.#rows.get(selectorId({ pod: uid }));
  }

  ofCredential(credential: string): RevocationRow | undefined {
    return this.#rows.size === 0 ? undefined : this.#rows.get(selectorId({ credential }));
  }

  leasesOf(sessionId: string): ReadonlySet<string> {
    return this.#leases.get(sessionId) ?? NONE;
  }

  #set(id: string, row: RevocationRow | undefined): void {
    const { selector, session = '' } = row ?? this.#rows.get(id) ?? {};
    if (row === undefined) this.#rows.delete(id);
    else this.#rows.set(id, row);
    if (selector === undefined || !('lease' in selector)) return;
    const leases = this.#leases.get(session) ?? new Set();
    if (row === undefined) leases.delete(selector.lease);
    else leases.add(selector.lease);
    if (leases.size === 0) this.#leases.delete(session);
    else this.#leases.set(session, leases);
  }
}

const NONE: ReadonlySet<string> = new Set();

/** Whether the revocation takes everything from the session. */
export function meansSession(selector: Selector, session: Session): boolean {
  if ('session' in selector) return selector.session === session.id;
  if ('pod' in selector) return selector.pod === session.pod?.uid;
  const id = selectorId(selector);
  return selectorsOf(session).some((own) => selectorId(own) === id);
}

function selectorsOf({ namespace, role, serviceAccount, tags }: Subject): Selector[] {
  return [
    { everything: true },
    { namespace },
    { serviceAccount, namespace },
    ...(role === undefined ? [] : [{ role }, { role, namespace }]),
    ...tags.flatMap((tag) => [{ tag }, { tag, namespace }]),
  ];
}
