const FIRST_MS = 250;
const MOST_MS = 15_000;
/** A part that ran this long counts as healthy again. */
const HEALTHY_MS = 30_000;

/** How long to wait before a crashed part is started again: doubling, and short again once it ran for a while. */
export class Backoff {
  #nextMs = FIRST_MS;

  /** Milliseconds to wait after a run of `ranMs`. */
  after(ranMs: number): number {
    if (ranMs >= HEALTHY_MS) this.#nextMs = FIRST_MS;
    const waitMs = this.#nextMs;
    this.#nextMs = Math.min(this.#nextMs * 2, MOST_MS);
    return waitMs;
  }
}
