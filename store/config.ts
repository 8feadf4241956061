import { z } from 'zod';
import type { StoreBootstrap as StoreBootstrapType } from '../api/bootstrap.ts';

/** What the parent process hands over on file descriptor 3. */
export const StoreBootstrap = z.strictObject({
  part: z.literal('store'),
  stateDir: z.string().min(1),
  listenHost: z.string().min(1),
  listenPort: z.int().min(0).max(65_535),
}) satisfies z.ZodType<StoreBootstrapType>;
export type StoreBootstrap = StoreBootstrapType;

/** Bounds and times of a store; `defaultSettings` unless a test needs others. */
export interface Settings {
  trustDomain: string;
  certificateSeconds: number;
  joinTokenSeconds: number;
  /** Tokens that wait for their use at one time. */
  joinTokenLimit: number;
  /** Leases of one session: as many at once, and as many a second in the long run. */
  leaseBurst: number;
  leasesPerSecond: number;
  /** Usage reports of one session, likewise. */
  usageBurst: number;
  usagePerSecond: number;
  /** Reports of uses that wait for being on record (`audit: Strict`), likewise; each may tell of many uses. */
  strictUsageBurst: number;
  strictUsagePerSecond: number;
  /** Refusals that get an audit entry of their own; the rest are counted in the next one. */
  refusalBurst: number;
  refusalsPerSecond: number;
  connectionLimit: number;
  /** Connections without a client certificate at one time. */
  strangerLimit: number;
  /** Event streams of one session: the newest ones stay. */
  streamsPerSession: number;
  /** Bytes that a stream may lag behind before it is cut. */
  streamLagLimitBytes: number;
  requestSeconds: number;
  drainSeconds: number;
  /** How often expired identities, due rotations and the server certificate are looked at. */
  tickMs: number;
  /** Least time between two writes of the audit.head file. */
  headFileMs: number;
}

export const defaultSettings: Settings = {
  trustDomain: 'sidekey.local',
  certificateSeconds: 3600,
  joinTokenSeconds: 60,
  joinTokenLimit: 4096,
  leaseBurst: 64,
  leasesPerSecond: 10,
  usageBurst: 16,
  usagePerSecond: 4,
  strictUsageBurst: 1000,
  strictUsagePerSecond: 500,
  refusalBurst: 64,
  refusalsPerSecond: 8,
  connectionLimit: 10_000,
  strangerLimit: 256,
  streamsPerSession: 2,
  streamLagLimitBytes: 1024 * 1024,
  requestSeconds: 10,
  drainSeconds: 3,
  tickMs: 1_000,
  headFileMs: 1_000,
};
