/** At most `requests` in any `windowSeconds`. */
export interface Limit {
  readonly requests: number;
  readonly windowSeconds: number;
}

export interface LimitHit {
  readonly limit: Limit;
  /** Whole seconds after which one more request fits, at least 1. */
  readonly retryAfterSeconds: number;
}

/** Above so many requests the window moves in this many steps, so that memory stays bounded. */
const SLOT_LIMIT = 1024;

/** Counts the requests of one Integration against its limits, in sliding windows: no window of that length ever has more. */
export class LimitCounter {
  readonly #windows: readonly SlidingWindow[];

  /** Takes over the counts of `previous` for the limits that are unchanged, so that a change elsewhere resets nothing. */
  constructor(limits: readonly Limit[], previous?: LimitCounter) {
    const before = previous === undefined ? [] : previous.#windows;
    this.#windows = limits.map(
      (limit) => before.find((window) => sameLimit(window.limit, limit)) ?? new SlidingWindow(limit),
    );
  }

  /** Counts one request against every limit, or against none if one is reached: that one is returned. `nowMs` is monotonic. */
  take(nowMs: number): LimitHit | undefined {
    if (this.#windows.length === 0) return undefined;
    const hit = this.reached(nowMs);
    if (hit === undefined) for (const window of this.#windows) window.add(nowMs);
    return hit;
  }

  /** The limit that a request would meet now, the one that takes longest to pass; counts nothing. */
  reached(nowMs: number): LimitHit | undefined {
    let longest: LimitHit | undefined;
    for (const window of this.#windows) {
      const waitMs = window.waitMs(nowMs);
      if (waitMs === 0) continue;
      const retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
      if (longest === undefined || retryAfterSeconds > longest.retryAfterSeconds)
        longest = { limit: window.limit, retryAfterSeconds };
    }
    return longest;
  }

  /** Each limit with how many requests it has counted in the window that ends now. */
  used(nowMs: number): { limit: Limit; count: number }[] {
    return this.#windows.map((window) => ({ limit: window.limit, count: window.count(nowMs) }));
  }
}

function sameLimit(a: Limit, b: Limit): boolean {
  return a.requests === b.requests && a.windowSeconds === b.windowSeconds;
}

/** A queue of times with how many requests each stands for; rounding is up, so that nothing leaves the window early. */
class SlidingWindow {
  readonly limit: Limit;
  readonly #windowMs: number;
  /** 0: each request has its own time. */
  readonly #stepMs: number;
  readonly #times: number[] = [];
  readonly #counts: number[] = [];
  #first = 0;
  #total = 0;

  constructor(limit: Limit) {
    this.limit = limit;
    this.#windowMs = limit.windowSeconds * 1000;
    this.#stepMs = limit.requests <= SLOT_LIMIT ? 0 : this.#windowMs / SLOT_LIMIT;
  }

  count(nowMs: number): number {
    this.#expire(nowMs);
    return this.#total;
  }

  waitMs(nowMs: number): number {
    return this.count(nowMs) < this.limit.requests ? 0 : this.#times[this.#first]! + this.#windowMs - nowMs;
  }

  add(nowMs: number): void {
    const time = this.#stepMs === 0 ? nowMs : Math.ceil(nowMs / this.#stepMs) * this.#stepMs;
    const last = this.#times.length - 1;
    if (last >= this.#first && this.#times[last] === time) this.#counts[last]! += 1;
    else {
      this.#times.push(time);
      this.#counts.push(1);
    }
    this.#total += 1;
  }

  #expire(nowMs: number): void {
    while (this.#first < this.#times.length && this.#times[this.#first]! + this.#windowMs <= nowMs) {
      this.#total -= this.#counts[this.#first]!;
      this.#first += 1;
    }
    // Moving the rest down now and then keeps the cost of each request constant.
    if (this.#first > SLOT_LIMIT || this.#first === this.#times.length) {
      this.#times.splice(0, this.#first);
      this.#counts.splice(0, this.#first);
      this.#first = 0;
    }
  }
}
