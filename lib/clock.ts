/** Time as the parts see it; handed in, so that tests and clock jumps can be played. */
export interface Clock {
  /** Wall-clock milliseconds since 1970, for records and certificates. May jump. */
  nowMs(): number;
  /** Milliseconds that only go forward, for leases and timeouts. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
