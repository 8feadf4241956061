import { type Refusal, refuse } from '../errors.ts';
import type { HeldLease } from './lease.ts';
import { type LeaseCallback, LeaseSlot, type LeaseSlotOptions } from './leaseSlot.ts';

export type { LeaseCallback, LeaseSource } from './leaseSlot.ts';

/** How often expiry and renewal are looked at; a lease that has expired is refused at once whatever this says. */
const TICK_MS = 1_000;

/** The leases of this session's credentials: fetched when used, renewed while used, overwritten when over. */
export class Leases {
  readonly #options: LeaseSlotOptions;
  readonly #slots = new Map<string, LeaseSlot>();
  readonly #timer: NodeJS.Timeout;
  #over = false;

  constructor(options: LeaseSlotOptions) {
    this.#options = options;
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

  /** These credentials are for this session, no others: leases of others are given up. */
  grant(credentials: ReadonlySet<string>): void {
    if (this.#over) return;
    for (const [credential, slot] of this.#slots) {
      if (credentials.has(credential)) continue;
      this.#slots.delete(credential);
      slot.close(this.#notGranted(credential));
    }
    for (const credential of credentials) {
      if (!this.#slots.has(credential)) this.#slots.set(credential, new LeaseSlot(credential, this.#options));
    }
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
    return refuse('Revoked', `credential ${credential} is not granted to this session any more`);
  }
}

function nothing(): void {}
