import { type Refusal, refuse } from '../errors.ts';
import type { HeldLease } from './lease.ts';
import { type LeaseCallback, LeaseSlot, type LeaseSlotOptions as SlotOptions } from './leaseSlot.ts';

export type { LeaseCallback, LeaseSource } from './leaseSlot.ts';

/** How often expiry and renewal are looked at; a lease that has expired is refused at once whatever this says. */
const TICK_MS = 1_000;
const REVOKED_LIMIT = 256;
const NONE: ReadonlyMap<string, string> = new Map();
const NO_ONE: ReadonlySet<string> = new Set();

/** The leases of this session's credentials: fetched when used, renewed while used, overwritten when over. */
export class Leases {
  readonly #options: SlotOptions;
  readonly #slots = new Map<string, LeaseSlot>();
  readonly #timer: NodeJS.Timeout;
  /** The last leases that were revoked: one may be on its way still. */
  readonly #revokedLeases = new Set<string>();
  /** Credential → the revocation that keeps it from this session. */
  #revoked: ReadonlyMap<string, string> = new Map();
  #over = false;

  constructor(options: Omit<SlotOptions, 'revoked'>) {
    this.#options = { ...options, revoked: (id) => this.#revokedLeases.has(id) };
    this.#timer = setInterval(() => this.tick(), TICK_MS).unref();
  }

  /** The lease in force, or undefined: then `obtain` it. Asking counts as use. */
  held(credential: string): HeldLease | undefined {
    return this.#slots.get(credential)?.held();
  }

  /** Calls back once, at once if there is a lease or a reason why there is none. Returns how to call it off. */
  obtain(credential: string, callback: LeaseCallback): () => void {
    const slot = this.#slots.get(credential);
    if (slot !== undefined) return slot.obtain(callback);
    callback(this.#notGranted(credential));
    return nothing;
  }

  /** After an upstream answered 401 to `version`: asks the store for a newer one, at most once a minute for a credential. Returns how to call it off. */
  refresh(credential: string, version: number, callback: LeaseCallback): () => void {
    const slot = this.#slots.get(credential);
    if (slot !== undefined) return slot.refresh(version, callback);
    callback(this.#notGranted(credential));
    return nothing;
  }

  /** Asks for a lease before it is used. */
  prefetch(credential: string): void {
    this.#slots.get(credential)?.prefetch();
  }

  /**
   * These credentials are for this session, no others: leases of others are given up. Of those in `single` each lease is good
   * for one request; `revoked` says of others by which revocation they are kept away.
   */
  grant(
    credentials: ReadonlySet<string>,
    { revoked = NONE, single = NO_ONE }: { revoked?: ReadonlyMap<string, string>; single?: ReadonlySet<string> } = {},
  ): void {
    if (this.#over) return;
    this.#revoked = revoked;
    for (const [credential, slot] of this.#slots) {
      if (credentials.has(credential)) continue;
      this.#slots.delete(credential);
      slot.close(this.#notGranted(credential));
    }
    for (const credential of credentials) {
      const slot = this.#slots.get(credential) ?? new LeaseSlot(credential, this.#options);
      slot.setSingle(single.has(credential));
      this.#slots.set(credential, slot);
    }
  }

  /** The lease is no good any more, also if it is yet to arrive. Returns whose it is, if it was held here. */
  revokeLease(id: string): string | undefined {
    this.#revokedLeases.add(id);
    if (this.#revokedLeases.size > REVOKED_LIMIT)
      this.#revokedLeases.delete(this.#revokedLeases.values().next().value!);
    for (const slot of this.#slots.values()) if (slot.revokeLease(id)) return slot.credential;
    return undefined;
  }

  /** Returns whether another version was in force as far as we knew. An older lease is given up, and replaced at once. */
  version(credential: string, version: number): boolean {
    return this.#slots.get(credential)?.setVersion(version) ?? false;
  }

  /** Gives everything up, for good. */
  end(): void {
    this.grant(new Set());
    this.#over = true;
    clearInterval(this.#timer);
  }

  tick(): void {
    for (const slot of this.#slots.values()) slot.tick();
  }

  /** Leases in force, and requests that wait for one. */
  stats(): { held: number; waiting: number } {
    let held = 0;
    let waiting = 0;
    for (const slot of this.#slots.values()) {
      if (slot.holding) held += 1;
      waiting += slot.waiting;
    }
    return { held, waiting };
  }

  #notGranted(credential: string): Refusal {
    const by = this.#revoked.get(credential);
    return refuse(
      'Revoked',
      by === undefined
        ? `credential ${credential} is not granted to this session any more`
        : `credential ${credential} is kept from this session by revocation ${by}; its owner can lift that: sidekey revoke lift ${by}`,
    );
  }
}

function nothing(): void {}
