import type { Access, Pod } from './access.ts';

/** What a check of `doctor` found. `unknown`: it could not look, such as for want of rights. */
export interface Finding {
  check: string;
  state: 'ok' | 'warning' | 'failed' | 'unknown';
  message: string;
  /** What to do. */
  next?: string;
}

/** One look at a cluster; throws only what `doctor` turns into `unknown`. */
export type Check = (input: CheckInput) => Promise<Finding[]>;

export interface CheckInput {
  access: Access;
  /** Of the release. */
  namespace: string;
  /** Where a pod of an agent is tried. */
  agents: string;
  pods: readonly Pod[];
  nowMs: number;
}
