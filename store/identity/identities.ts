import type { IdentityKind } from '../../api/protocol.ts';
import type { Session } from '../../api/session.ts';
import type { Clock } from '../../lib/clock.ts';
import type { IdentityRow, Snapshot } from '../persist/repository.ts';

/** Who stands behind a client certificate. */
export type Identity = {
  readonly serial: string;
  readonly spiffeId: string;
  /** Monotonic milliseconds: a jump of the wall clock neither ends it early nor keeps it. */
  readonly untilMs: number;
} & ({ readonly kind: 'operator' } | { readonly kind: 'session'; readonly session: Session });

export function spiffeIdOf(trustDomain: string, kind: IdentityKind, session?: Session): string {
  if (kind === 'operator' || session === undefined) return `spiffe://${trustDomain}/sidekey/${kind}`;
  return `spiffe://${trustDomain}/ns/${session.namespace}/sa/${session.serviceAccount}`;
}

/** The certificates in force, by fingerprint: one that is not in here opens nothing, whoever signed it. */
export class Identities {
  readonly #clock: Clock;
  readonly #trustDomain: string;
  readonly #lifetimeMs: number;
  readonly #known = new Map<string, Identity>();
  readonly #sessions = new Map<string, Session>();

  constructor(options: { clock: Clock; trustDomain: string; seconds: number; snapshot: Snapshot }) {
    this.#clock = options.clock;
    this.#trustDomain = options.trustDomain;
    this.#lifetimeMs = options.seconds * 1000;
    for (const session of options.snapshot.sessions) this.#sessions.set(session.id, session);
    for (const row of options.snapshot.identities) this.add(row);
  }

  /** Does nothing for an identity whose session is over. */
  add(row: IdentityRow): void {
    const leftMs = Math.min(row.expiresAtMs - this.#clock.nowMs(), this.#lifetimeMs);
    if (leftMs <= 0) return;
    const common = { serial: row.serial, untilMs: this.#clock.monotonicMs() + leftMs };
    const spiffeId = (session?: Session) => spiffeIdOf(this.#trustDomain, row.kind, session);
    if (row.kind === 'operator') {
      this.#known.set(row.fingerprint, { ...common, kind: 'operator', spiffeId: spiffeId() });
      return;
    }
    const session = this.#sessions.get(row.sessionId ?? '');
    if (session === undefined) return;
    this.#known.set(row.fingerprint, { ...common, kind: 'session', session, spiffeId: spiffeId(session) });
  }

  find(fingerprint: string): Identity | undefined {
    const identity = this.#known.get(fingerprint);
    return identity !== undefined && this.alive(identity) ? identity : undefined;
  }

  alive(identity: Identity): boolean {
    if (identity.untilMs <= this.#clock.monotonicMs()) return false;
    return identity.kind === 'operator' || this.#sessions.has(identity.session.id);
  }

  /** Serial numbers of the certificates in force. */
  *serials(): Generator<string> {
    for (const identity of this.#known.values()) if (this.alive(identity)) yield identity.serial;
  }

  /** It has begun, or is another now: the certificates of before stand for that. */
  sessionChanged(session: Session): void {
    const known = this.#sessions.has(session.id);
    this.#sessions.set(session.id, session);
    if (!known) return;
    for (const [fingerprint, identity] of this.#known) {
      if (identity.kind === 'session' && identity.session.id === session.id)
        this.#known.set(fingerprint, { ...identity, session });
    }
  }

  /** Those of a pod: one, unless its sidecar has just started anew. */
  ofPod(uid: string): Session[] {
    return [...this.#sessions.values()].filter(({ pod }) => pod?.uid === uid);
  }

  sessionEnded(session: Session): void {
    this.#sessions.delete(session.id);
    for (const [fingerprint, identity] of this.#known) {
      if (identity.kind === 'session' && identity.session.id === session.id) this.#known.delete(fingerprint);
    }
  }

  sessions(): IterableIterator<Session> {
    return this.#sessions.values();
  }

  session(id: string): Session | undefined {
    return this.#sessions.get(id);
  }

  /** Forgets what has expired; the sessions that no certificate stands for any more. */
  expire(): Session[] {
    const standing = new Set<string>();
    for (const [fingerprint, identity] of this.#known) {
      if (!this.alive(identity)) this.#known.delete(fingerprint);
      else if (identity.kind === 'session') standing.add(identity.session.id);
    }
    return [...this.#sessions.values()].filter((session) => !standing.has(session.id));
  }
}
