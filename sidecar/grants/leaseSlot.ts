import { setTimeout as delay } from 'node:timers/promises';
import type { LeaseRequest } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { type Refusal, refuse } from '../errors.ts';
import { StoreFailure, UNREACHABLE } from '../link/storeFailure.ts';
import { HeldLease, type IssuedLease } from './lease.ts';
import { leaseRefusal } from './leaseRefusal.ts';

/** Where leases come from. */
export interface LeaseSource {
  /** @throws StoreFailure */
  lease(request: LeaseRequest): Promise<IssuedLease>;
}

export type LeaseCallback = (result: HeldLease | Refusal) => void;

export interface LeaseSlotOptions {
  clock: Clock;
  log: Logger;
  source: LeaseSource;
  /** Whether the lease of that id was revoked, as the store's events tell it. */
  revoked: (id: string) => boolean;
}

const WAITER_LIMIT = 1_024;
const WAIT_LIMIT_MS = 5_000;
/** Pauses before the store is asked again while somebody waits: a store that restarts is not noticed. */
const RETRY_MS = [100, 200, 400];
/** Answers in a row of a version that is already out of date. */
const STALE_LIMIT = 3;
/** How long a refusal stands for everybody who asks again, at least. */
const REFUSAL_MS = 500;
const RENEWAL_RETRY_MS = 2_000;
/** Renewal falls due at half of the lease, give or take this share of it, so that many do not ask at once. */
const RENEW_AT = 0.5;
const RENEW_JITTER = 0.1;
/** How many of the last leases are known by their ids: what runs under an older one may be revoked too. */
const KNOWN_LEASES = 64;
const REFRESH_MS = 60_000;

/** The lease of one credential: held, being asked for, and waited for. At most one request of each kind runs. */
export class LeaseSlot {
  readonly credential: string;
  readonly #o: LeaseSlotOptions;
  /** As the store's events tell it; undefined until they do. */
  #version: number | undefined;
  /** Versions never go back: what says so is late. */
  #highest = 0;
  #single = false;
  readonly #known: string[] = [];
  #held: HeldLease | undefined;
  #used = false;
  #renewAtMs = 0;
  #fetching = false;
  #waiters = new Set<LeaseCallback>();
  #refused: { refusal: Refusal; untilMs: number } | undefined;
  #refreshWaiters: LeaseCallback[] | undefined;
  #refreshAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(credential: string, options: LeaseSlotOptions) {
    this.credential = credential;
    this.#o = options;
  }

  /** Whether a lease is in force, without counting as use. */
  get holding(): boolean {
    return this.#held?.inForce(this.#o.clock) === true;
  }

  get waiting(): number {
    return this.#waiters.size + (this.#refreshWaiters?.length ?? 0);
  }

  /** The lease in force; asking counts as use. */
  held(): HeldLease | undefined {
    const held = this.#held;
    if (held === undefined || !held.inForce(this.#o.clock)) return undefined;
    this.#used = true;
    if (!held.single && this.#o.clock.monotonicMs() >= this.#renewAtMs) this.#fetch();
    return held;
  }

  obtain(callback: LeaseCallback): () => void {
    const known = this.held() ?? this.#refusal();
    if (known !== undefined) {
      callback(known);
      return nothing;
    }
    const settle: LeaseCallback = (result) => {
      cancel();
      callback(result);
    };
    const cancel = () => {
      clearTimeout(timer);
      this.#waiters.delete(settle);
    };
    const timer = setTimeout(() => settle(leaseRefusal(this.credential, undefined)), WAIT_LIMIT_MS);
    this.#waiters.add(settle);
    this.#fetch();
    return cancel;
  }

  /** Asks for the lease although nobody waits for it. */
  prefetch(): void {
    if (this.#single) return;
    if (this.held() === undefined && this.#refusal() === undefined) this.#fetch();
  }

  refresh(refusedVersion: number, callback: LeaseCallback): () => void {
    const held = this.held();
    const nowMs = this.#o.clock.monotonicMs();
    if (held !== undefined && held.version > refusedVersion) callback(held);
    // To ask for a newer version would cost a use of this one.
    else if (this.#single) {
      if ((this.#version ?? 0) > refusedVersion) return this.obtain(callback);
      callback(this.#noNewer());
    } else if (this.#refreshWaiters === undefined && nowMs < this.#refreshAtMs) callback(this.#noNewer());
    else {
      const waiters = this.#refreshWaiters ?? [];
      if (this.#refreshWaiters === undefined) {
        this.#refreshWaiters = waiters;
        this.#refreshAtMs = nowMs + REFRESH_MS;
        void this.#refresh(refusedVersion);
      }
      waiters.push(callback);
      return () => {
        const at = waiters.indexOf(callback);
        if (at >= 0) waiters.splice(at, 1);
      };
    }
    return nothing;
  }

  /** The version in force changed, or is told for the first time. Returns whether another one was in force as far as we knew. */
  setVersion(version: number): boolean {
    if (version !== 0 && version < this.#highest) return false;
    this.#highest = Math.max(this.#highest, version);
    const before = this.#version;
    this.#version = version;
    this.#refused = undefined;
    const held = this.#held;
    if (held !== undefined && held.version !== version) {
      this.#drop();
      if (version !== 0 && !this.#single) this.#fetch();
    }
    if (version === 0) this.#settle(this.#refusal()!);
    return before !== undefined && before !== version;
  }

  /** Whether each lease is good for one request from now on; one that was for more is given up then. */
  setSingle(single: boolean): void {
    if (single && !this.#single) this.#drop();
    this.#single = single;
  }

  /** Whether the lease is, or was lately, held here; then it is not any more. */
  revokeLease(id: string): boolean {
    if (this.#held?.id === id) this.#drop();
    return this.#known.includes(id);
  }

  /** Gives up what has expired, renews what is in use. */
  tick(): void {
    const held = this.#held;
    if (held === undefined) return;
    if (!held.inForce(this.#o.clock)) this.#drop();
    else if (this.#used && !held.single && this.#o.clock.monotonicMs() >= this.#renewAtMs) this.#fetch();
  }

  /** The credential is not for this session any more. */
  close(refusal: Refusal): void {
    this.#closed = true;
    this.#drop();
    this.#settle(refusal);
    this.#settleRefresh(refusal);
  }

  #drop(): void {
    this.#held?.retire();
    this.#held = undefined;
  }

  #refusal(): Refusal | undefined {
    if (this.#version === 0)
      return refuse('CredentialUnavailable', `credential ${this.credential} has no material now`, 1);
    const refused = this.#refused;
    if (refused !== undefined && this.#o.clock.monotonicMs() < refused.untilMs) return refused.refusal;
    return this.#waiters.size < WAITER_LIMIT
      ? undefined
      : refuse('Overloaded', `${WAITER_LIMIT} requests wait for credential ${this.credential} already`, 1);
  }

  #fetch(): void {
    if (this.#fetching) return;
    this.#fetching = true;
    void this.#fetchAll().finally(() => {
      this.#fetching = false;
      // The lease was good for the first of them only.
      if (this.#waiters.size > 0 && !this.#closed) this.#fetch();
    });
  }

  async #fetchAll(): Promise<void> {
    let stale = 0;
    for (let attempt = 0; !this.#closed; ) {
      try {
        if (this.#adopt(await this.#ask({ credential: this.credential }))) return;
        stale += 1;
        if (stale === STALE_LIMIT)
          throw new StoreFailure(UNREACHABLE, 'the store keeps answering with an older version');
      } catch (error) {
        const pauseMs = RETRY_MS[attempt++];
        const unreachable = error instanceof StoreFailure && error.code === UNREACHABLE && stale < STALE_LIMIT;
        // While the last lease holds there is time; and without anybody who waits there is no hurry.
        if (!unreachable || pauseMs === undefined || this.#waiters.size === 0) return this.#failed(error);
        await delay(pauseMs * (0.5 + Math.random()));
      }
    }
  }

  #failed(error: unknown): void {
    const nowMs = this.#o.clock.monotonicMs();
    const refusal = leaseRefusal(this.credential, error);
    this.#o.log.warn(
      { credential: this.credential, code: refusal.code, error: errorText(error) },
      'no lease was given',
    );
    const seconds = error instanceof StoreFailure ? (error.retryAfterSeconds ?? 0) : 0;
    this.#refused = { refusal, untilMs: nowMs + Math.max(REFUSAL_MS, seconds * 1000) };
    this.#renewAtMs = nowMs + RENEWAL_RETRY_MS * (0.5 + Math.random());
    if (refusal.code === 'Revoked') this.#drop();
    this.#settle(refusal);
  }

  async #refresh(refusedVersion: number): Promise<void> {
    let result: HeldLease | Refusal = this.#noNewer();
    try {
      const issued = await this.#ask({ credential: this.credential, refusedVersion });
      if (issued.version <= refusedVersion) issued.material.destroy();
      else if (this.#adopt(issued)) result = this.#held!;
    } catch (error) {
      result = leaseRefusal(this.credential, error);
    }
    if (!this.#closed) this.#settleRefresh(result);
  }

  async #ask(request: LeaseRequest): Promise<IssuedLease & { requestedAt: { monotonicMs: number; wallMs: number } }> {
    const { clock, source } = this.#o;
    const requestedAt = { monotonicMs: clock.monotonicMs(), wallMs: clock.nowMs() };
    const single = this.#single && ({ single: true } as const);
    return { ...(await source.lease({ ...request, ...single })), requestedAt };
  }

  /** Holds a lease from now on. False: its version has been replaced while it was on its way, or it is not wanted any more. */
  #adopt(issued: IssuedLease & { requestedAt: { monotonicMs: number; wallMs: number } }): boolean {
    const stale = issued.version < (this.#version ?? 0) || issued.version < (this.#held?.version ?? 0);
    if (
      this.#closed ||
      this.#version === 0 ||
      stale ||
      this.#o.revoked(issued.id) ||
      (this.#single && !issued.single)
    ) {
      issued.material.destroy();
      return this.#version === 0;
    }
    this.#drop();
    const lease = new HeldLease(this.credential, issued, issued.requestedAt);
    this.#held = lease;
    this.#known.push(issued.id);
    if (this.#known.length > KNOWN_LEASES) this.#known.shift();
    const share = RENEW_AT + RENEW_JITTER * (2 * Math.random() - 1);
    this.#renewAtMs = issued.requestedAt.monotonicMs + issued.expiresInSeconds * 1000 * share;
    this.#used = this.#waiters.size > 0;
    this.#refused = undefined;
    if (lease.single) this.#serve(lease);
    else this.#settle(lease);
    return true;
  }

  /** To one after the other until somebody has taken it into use. */
  #serve(lease: HeldLease): void {
    for (const waiter of [...this.#waiters]) {
      if (!lease.inForce(this.#o.clock)) return;
      this.#call(waiter, lease);
    }
  }

  #settle(result: HeldLease | Refusal): void {
    for (const waiter of [...this.#waiters]) this.#call(waiter, result);
  }

  #settleRefresh(result: HeldLease | Refusal): void {
    const waiters = this.#refreshWaiters ?? [];
    this.#refreshWaiters = undefined;
    for (const waiter of waiters.splice(0)) this.#call(waiter, result);
  }

  /** One request's failure must not keep the others waiting. */
  #call(waiter: LeaseCallback, result: HeldLease | Refusal): void {
    try {
      waiter(result);
    } catch (error) {
      this.#o.log.error({ error: errorText(error) }, 'a request failed as it got its lease');
    }
  }

  #noNewer(): Refusal {
    return refuse('CredentialUnavailable', `there is no newer version of credential ${this.credential}`);
  }
}

function nothing(): void {}
