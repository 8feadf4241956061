import { type KeyObject, randomUUID } from 'node:crypto';
import type { JoinAnswer } from '../api/protocol.ts';
import type { Session } from '../api/session.ts';
import type { Clock } from '../lib/clock.ts';
import type { Audit } from './audit/audit.ts';
import type { Settings } from './config.ts';
import { storeError } from './errors.ts';
import type { CertificateAuthority, ClientCertificate } from './identity/certificateAuthority.ts';
import { type Identities, type Identity, spiffeIdOf } from './identity/identities.ts';
import type { Invitation, JoinTokens } from './identity/joinTokens.ts';
import type { PodIdentity } from './kubernetes/podIdentity.ts';
import type { Change, Repository, Transaction } from './persist/repository.ts';
import type { SessionLimits } from './sessionLimits.ts';
import type { State } from './state.ts';

/** Renewal falls due at half of the lifetime, give or take this share of it, so that many started at once do not return at once. */
const RENEW_JITTER = 0.1;
/** Changes of the CA are hours apart: more than one try is for what cannot be loaded. */
const ISSUE_ATTEMPTS = 3;
const REJOINED = 'the sidecar of the pod has started anew';

export interface SessionsOptions {
  clock: Clock;
  settings: Settings;
  repository: Repository;
  audit: Audit;
  ca: CertificateAuthority;
  identities: Identities;
  joinTokens: JoinTokens;
  limits: SessionLimits;
  state: State;
}

/** How identities begin, go on and end. */
export class Sessions {
  readonly #o: SessionsOptions;
  readonly #lastSeenMs = new Map<string, number>();

  constructor(options: SessionsOptions) {
    this.#o = options;
  }

  /** @throws JoinTokenInvalid, Overloaded, Revoked */
  async join(token: string, publicKey: KeyObject, from: string): Promise<JoinAnswer> {
    const { clock, joinTokens } = this.#o;
    return this.#issuing(async (tx) => {
      const session = sessionOf(await joinTokens.redeem(tx, token), clock.nowMs());
      return this.#begin(tx, { session }, publicKey, from);
    });
  }

  /** A pod's sidecar, or the operator: known by its living pod. What its pod had before ends. @throws Overloaded, Revoked */
  async joinPod(who: PodIdentity, publicKey: KeyObject, from: string): Promise<JoinAnswer> {
    const { clock, identities, repository } = this.#o;
    // A session that was begun at another replica ends as well.
    await repository.caughtUp();
    const joined = await this.#issuing(async (tx) => {
      if (who.kind === 'operator') return this.#begin(tx, { pod: who.pod }, publicKey, from);
      for (const before of identities.ofPod(who.session.pod.uid)) await this.#end(tx, before, REJOINED);
      return this.#begin(tx, { session: sessionOf(who, clock.nowMs()) }, publicKey, from);
    });
    if (who.kind === 'session') await this.#leaveLatest(who.session.pod.uid);
    return joined;
  }

  /**
   * Joins at the same moment do not see each other until they are committed; whoever sees both then ends the earlier one. Whose answer that
   * was joins again, as after any end.
   */
  async #leaveLatest(uid: string): Promise<void> {
    await this.#o.repository.caughtUp();
    const order = ({ id, startedAt }: Session) => `${startedAt} ${id}`;
    const [, ...earlier] = this.#o.identities.ofPod(uid).sort((a, b) => (order(a) < order(b) ? 1 : -1));
    for (const session of earlier) await this.end(session, REJOINED);
  }

  /** The labels of a pod are others now: so is what its sessions may use, at once. */
  async changePod(uid: string, subject: Pick<Session, 'role' | 'tags'>): Promise<void> {
    await this.#o.repository.caughtUp();
    await this.#o.repository.transaction(async (tx) => {
      for (const before of this.#o.identities.ofPod(uid)) {
        const { role: previousRole, tags: previousTags, ...rest } = before;
        const after = { ...rest, ...subject };
        if (previousRole === subject.role && previousTags.join('\n') === subject.tags.join('\n')) continue;
        if (!(await tx.sessions.change(after))) continue;
        await this.#o.audit.append(tx, {
          kind: 'session.changed',
          session: after.id,
          ...subject,
          previous: { ...(previousRole !== undefined && { role: previousRole }), tags: previousTags },
        });
      }
    });
  }

  /**
   * A transaction that issues a certificate: by the CA that the database has, since one by a CA that is no more is good for nothing.
   *
   * @throws StorageFailed
   */
  async #issuing<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const { ca, repository } = this.#o;
    for (let attempt = 0; attempt < ISSUE_ATTEMPTS; attempt += 1) {
      const done = await repository.transaction(async (tx) =>
        (await ca.isCurrent(tx)) ? { result: await work(tx) } : undefined,
      );
      if (done !== undefined) return done.result;
      await ca.reload();
    }
    throw storeError('StorageFailed', 'The CA that another replica has changed could not be loaded yet.');
  }

  /** A session, or without one an operator, which is told apart by its pod where it has one. What is refused leaves nothing of the transaction. */
  async #begin(
    tx: Transaction,
    { pod, session }: { session?: Session | undefined; pod?: NonNullable<Session['pod']> },
    publicKey: KeyObject,
    from: string,
  ): Promise<JoinAnswer> {
    if (session !== undefined) {
      this.#admit(session);
      await tx.sessions.put(session);
    }
    const kind = session === undefined ? 'operator' : 'session';
    const { answer, certificate } = await this.#certify(tx, { kind, session }, publicKey);
    await this.#o.audit.append(tx, {
      kind: session === undefined ? 'operator.joined' : 'session.started',
      ...(session && { session }),
      ...(pod && { pod }),
      serial: certificate.serial,
      from,
    });
    return answer;
  }

  #admit(session: Session): void {
    const { limits, state } = this.#o;
    const revocation = state.revocations.ofPod(session.pod?.uid);
    if (revocation !== undefined) throw storeError('Revoked', `Revocation ${revocation.id} stands against the pod.`);
    limits.takeJoin(session.namespace);
  }

  /** @throws IdentityRevoked */
  async renew(identity: Identity, publicKey: KeyObject): Promise<JoinAnswer> {
    const { identities, repository } = this.#o;
    const session = identity.kind === 'session' ? identity.session : undefined;
    const renewed = await this.#issuing(async (tx) => {
      if (!identities.alive(identity)) throw storeError('IdentityRevoked');
      const { answer, certificate } = await this.#certify(tx, { kind: identity.kind, session }, publicKey);
      await this.#o.audit.append(tx, {
        kind: 'identity.renewed',
        ...(session && { session: session.id }),
        serial: certificate.serial,
        previousSerial: identity.serial,
      });
      return answer;
    });
    // It may have ended in the same commit, or at another replica.
    await repository.caughtUp();
    if (!identities.alive(identity)) throw storeError('IdentityRevoked');
    return renewed;
  }

  /** Ends a session for good: its certificates open nothing from now on. Does nothing if it has ended. */
  async end(session: Session, reason: string): Promise<void> {
    await this.#o.repository.transaction(async (tx) => {
      if (this.#o.identities.session(session.id) !== undefined) await this.#end(tx, session, reason);
    });
  }

  async #end(tx: Transaction, session: Session, reason: string): Promise<void> {
    if (!(await tx.sessions.end(session, this.#o.clock.nowMs(), reason))) return;
    await this.#o.audit.append(tx, { kind: 'session.ended', session: session.id, reason });
  }

  /** As `end`, for all sessions of a pod: it is gone. */
  async endPod(uid: string, reason: string): Promise<void> {
    for (const session of this.#o.identities.ofPod(uid)) await this.end(session, reason);
  }

  changed(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'identity') this.#o.identities.add(change.identity);
      if (change.kind !== 'session') continue;
      if (change.endReason === undefined) this.#o.identities.sessionChanged(change.session);
      else {
        this.#o.identities.sessionEnded(change.session);
        this.#lastSeenMs.delete(change.session.id);
      }
    }
  }

  /** Ends the sessions whose last certificate has run out. */
  async expire(): Promise<void> {
    if (this.#o.identities.expire().length === 0) return;
    // One that was renewed at another replica is not over.
    await this.#o.repository.caughtUp();
    for (const session of this.#o.identities.expire()) await this.end(session, 'its certificate was not renewed');
  }

  seen(session: Session): void {
    this.#lastSeenMs.set(session.id, this.#o.clock.nowMs());
  }

  /** RFC 3339; now for one that is connected. */
  lastSeenAt(session: Session, connected: boolean): string {
    const seenMs = connected ? this.#o.clock.nowMs() : this.#lastSeenMs.get(session.id);
    return seenMs === undefined ? session.startedAt : new Date(seenMs).toISOString();
  }

  async #certify(
    tx: Transaction,
    who: { kind: Identity['kind']; session: Session | undefined },
    publicKey: KeyObject,
  ): Promise<{ answer: JoinAnswer; certificate: ClientCertificate }> {
    const { ca, clock, settings } = this.#o;
    const { kind, session } = who;
    const seconds = settings.certificateSeconds;
    const spiffeId = spiffeIdOf(settings.trustDomain, kind, session);
    const certificate = ca.issueClient({ publicKey, spiffeId, seconds });
    await tx.identities.put({
      serial: certificate.serial,
      fingerprint: certificate.fingerprint,
      kind,
      ...(session && { sessionId: session.id }),
      expiresAtMs: clock.nowMs() + seconds * 1000,
    });
    const answer: JoinAnswer = {
      kind,
      spiffeId,
      ...(session && { session }),
      certificatePem: certificate.pem,
      trustBundlePem: ca.trustBundlePem,
      expiresInSeconds: seconds,
      renewInSeconds: Math.max(1, Math.round(seconds * (0.5 + RENEW_JITTER * (2 * Math.random() - 1)))),
    };
    return { answer, certificate };
  }
}

function sessionOf({ session }: Pick<Invitation, 'session'>, nowMs: number): Session | undefined {
  if (session === undefined) return undefined;
  return { id: randomUUID(), ...session, startedAt: new Date(nowMs).toISOString() };
}
