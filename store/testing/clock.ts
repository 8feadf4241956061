import type { Clock } from '../../lib/clock.ts';

/** A clock for tests: both times move only when told. */
export class ManualClock implements Clock {
  wallMs = Date.parse('2026-01-01T00:00:00Z');
  #monotonicMs = 1_000;

  nowMs(): number {
    return this.wallMs;
  }

  monotonicMs(): number {
    return this.#monotonicMs;
  }

  advance(seconds: number): void {
    this.wallMs += seconds * 1000;
    this.#monotonicMs += seconds * 1000;
  }
}
