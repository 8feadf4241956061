import type { Clock } from '../../lib/clock.ts';
import type { Material } from '../../lib/material.ts';

/** What the store answered to a request for a lease; whoever has it destroys `material`. */
export interface IssuedLease {
  readonly id: string;
  readonly version: number;
  readonly expiresInSeconds: number;
  /** Good for one request. */
  readonly single?: boolean;
  readonly material: Material;
}

interface Destroyable {
  destroy(): void;
}

/**
 * One credential version that this sidecar may use until a time. Who works with its bytes past the present call stack retains it.
 *
 * The bytes are overwritten when it is retired (expired, replaced or revoked) and the last user has released it.
 */
export class HeldLease {
  readonly id: string;
  readonly credential: string;
  readonly version: number;
  /** Whoever retains it first is the only one who gets it. */
  readonly single: boolean;
  /** Without fields once it is destroyed. */
  readonly material: Material;
  /** Monotonic milliseconds. */
  readonly expiresAtMs: number;
  /** The same by the wall clock: the monotonic one stands still while a machine sleeps. */
  readonly #expiresAtWallMs: number;
  readonly #memo = new Map<object, Destroyable>();
  #users = 0;
  #retired = false;

  /** Takes over the material. The lease runs from `requestedAt`, before the store was asked, so that it never outlives the store's. */
  constructor(credential: string, issued: IssuedLease, requestedAt: { monotonicMs: number; wallMs: number }) {
    this.id = issued.id;
    this.credential = credential;
    this.version = issued.version;
    this.single = issued.single === true;
    this.material = issued.material;
    this.expiresAtMs = requestedAt.monotonicMs + issued.expiresInSeconds * 1000;
    this.#expiresAtWallMs = requestedAt.wallMs + issued.expiresInSeconds * 1000;
  }

  /** Whether it may still be used for a new request. */
  inForce(clock: Clock): boolean {
    return !this.#retired && clock.monotonicMs() < this.expiresAtMs && clock.nowMs() < this.#expiresAtWallMs;
  }

  get destroyed(): boolean {
    return this.#retired && this.#users === 0;
  }

  retain(): void {
    this.#users += 1;
    if (this.single) this.#retired = true;
  }

  release(): void {
    if (this.#users === 0) throw new Error('a lease was released more often than retained');
    this.#users -= 1;
    this.#destroyIfUnused();
  }

  /** No new user gets it from now on. */
  retire(): void {
    this.#retired = true;
    this.#destroyIfUnused();
  }

  /** What `make` computes of the material, once for this lease and `key`; destroyed with the lease. Of a destroyed lease nothing is kept. */
  memo<T extends Destroyable>(key: object, make: (material: Material) => T): T {
    const known = this.#memo.get(key);
    // The key is the object that makes it, so it always gives the same type.
    if (known !== undefined) return known as T;
    const made = make(this.material);
    if (!this.destroyed) this.#memo.set(key, made);
    return made;
  }

  #destroyIfUnused(): void {
    if (!this.destroyed) return;
    for (const made of this.#memo.values()) made.destroy();
    this.#memo.clear();
    this.material.destroy();
  }
}
