import type { Route } from '../load.ts';
import type { Upstream } from '../upstream.ts';

/** How clients speak to a contender: http:// to its own address, or as to the upstream itself (CONNECT and interception). */
export type Path = 'baseURL' | 'intercept';
export const PATHS: readonly Path[] = ['baseURL', 'intercept'];

/** A started process that places the credential, or nothing at all (direct). */
export interface Running {
  /** Root of its process tree; undefined: there is none. */
  readonly pid: number | undefined;
  /** Just before it was started, as process.hrtime.bigint(). */
  readonly startedNs: bigint;
  route(path: Path): Route;
  /** The last of what it wrote. */
  readonly said: string;
  stop(): Promise<void>;
}

export interface Contender {
  readonly name: string;
  /** Starts it on the contenders' core; it may not listen yet. @throws Error if it cannot */
  start(upstream: Upstream): Promise<Running>;
}
