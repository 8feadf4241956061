/** What the bench asks of a process of simulated sidecars, and what that answers: one answer each, in order. */
export type SimulatorRequest =
  | { ask: 'join'; storeUrl: string; trustBundlePem: string; adminSocket: string; first: number; count: number }
  /** Opens the event stream of each, and waits until all have their first event. */
  | { ask: 'listen' }
  /** From now on the arrival of each event of that type is noted, once for each sidecar. */
  | { ask: 'watch'; type: 'version' | 'revoke' | 'grant' }
  /** Waits until each sidecar has the watched event, at the longest that long. */
  | { ask: 'arrivals'; limitMs: number }
  /** All ask for leases in turn, so many at one time, for that long. */
  | { ask: 'leases'; sidecars: number; seconds: number }
  /** From now on so many sidecars ask for a lease once a second, and streams that end are counted. */
  | { ask: 'steady'; sidecars: number }
  /** Waits until every stream is open again after it broke off, at the longest that long. */
  | { ask: 'reopened'; limitMs: number }
  | { ask: 'close' };

export interface SimulatorAnswer {
  /** Milliseconds since 1970, with fractions. */
  atMs?: number[];
  latenciesMs?: number[];
  /** Code → how often. */
  failures?: Record<string, number>;
  seconds?: number;
  /** How many have what was waited for. */
  done?: number;
  /** How many wait for a lease. */
  waiting?: number;
  error?: string;
}

/** Milliseconds since 1970 with fractions, comparable between processes of one machine. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

/** What each simulated sidecar may use; the operator of the bench makes it. */
export const SHARED_CREDENTIAL = 'bench/shared';
export const NAMESPACES = 100;
export function namespaceOf(sidecar: number): string {
  return `bench-${sidecar % NAMESPACES}`;
}
