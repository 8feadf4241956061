import type { HeldLease } from '../grants/lease.ts';
import type { Leases } from '../grants/leases.ts';

/** For a stream to come to its end once it may not go on. */
const DRAIN_MS = 30_000;

/**
 * How long a stream may go on (data path rule 15).
 *
 * An exchange that was authorised when it started finishes, whatever becomes of its lease. A stream without an end of its own
 * (after 101, or `text/event-stream`) goes on past the end of its lease only while the session holds a lease of the same
 * version of the same credential; else it has 30 s to end by itself and is then cut. It counts as use of the credential, so
 * the lease is renewed as long as the store allows. A revocation cuts every exchange at once, streams or not (InFlight).
 */
export class StreamLease {
  readonly #lease: HeldLease;
  readonly #leases: Leases;
  #endsAtMs: number | undefined;

  constructor(lease: HeldLease, leases: Leases) {
    this.#lease = lease;
    this.#leases = leases;
  }

  /** Whether the stream is to be cut now; to be asked every second or so. */
  over(nowMs: number): boolean {
    const current = this.#leases.held(this.#lease.credential);
    if (nowMs < this.#lease.expiresAtMs || current?.version === this.#lease.version) {
      this.#endsAtMs = undefined;
      return false;
    }
    if (this.#endsAtMs === undefined) {
      this.#endsAtMs = nowMs + DRAIN_MS;
      // One that is good for one request cannot be renewed: another would cost a use that nobody makes.
      if (current === undefined && !this.#lease.single) this.#leases.obtain(this.#lease.credential, () => {});
    }
    return nowMs >= this.#endsAtMs;
  }
}
