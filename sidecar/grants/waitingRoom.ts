/** Requests that wait at one time: as many as an agent of many threads makes before it has heard of anything. */
const LIMIT = 1_024;

/** Where those wait, for a bounded time, who came before anything can be decided. */
export class WaitingRoom {
  readonly #limitMs: number;
  readonly #waiting = new Set<() => void>();

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Calls back when it opens or after the time; undefined if there is no room. Returns how to call it off. */
  enter(callback: () => void): (() => void) | undefined {
    if (this.#limitMs === 0 || this.#waiting.size >= LIMIT) return undefined;
    const leave = () => {
      clearTimeout(late);
      this.#waiting.delete(go);
    };
    const go = () => {
      leave();
      callback();
    };
    const late = setTimeout(go, this.#limitMs);
    this.#waiting.add(go);
    return leave;
  }

  /** Lets everybody in who waits now, in the order of their coming. */
  open(): void {
    for (const go of [...this.#waiting]) go();
  }
}
