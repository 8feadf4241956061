import { z } from 'zod';
import type { StoreBootstrap as StoreBootstrapType } from '../api/bootstrap.ts';
import { LabelName, SubdomainName } from '../api/metadata.ts';
import { ApiServer } from '../lib/configFile.ts';
import { KekSpec } from './vault/kekSpec.ts';

export const DatabaseUrl = z.string().regex(/^postgres(ql)?:\/\//, 'must begin with postgres://');

/** What the parent process hands over on file descriptor 3, or what the file of `--config` holds. */
export const StoreBootstrap = z.strictObject({
  part: z.literal('store'),
  stateDir: z.string().min(1),
  kek: KekSpec.optional(),
  listenHost: z.string().min(1),
  listenPort: z.int().min(0).max(65_535),
  metricsHost: z.string().min(1).optional(),
  metricsPort: z.int().min(0).max(65_535).optional(),
  databaseUrl: DatabaseUrl.optional(),
  databaseUrlFile: z.string().min(1).optional(),
  kubernetes: z
    .strictObject({
      operator: z.strictObject({ namespace: LabelName, serviceAccount: SubdomainName }),
      trustConfigMap: z.strictObject({ namespace: LabelName, name: SubdomainName }).optional(),
      apiServer: ApiServer.optional(),
    })
    .optional(),
}) satisfies z.ZodType<StoreBootstrapType>;
export type StoreBootstrap = StoreBootstrapType;

/** Bounds and times of a store; `defaultSettings` unless a test needs others. */
export interface Settings {
  trustDomain: string;
  certificateSeconds: number;
  joinTokenSeconds: number;
  /** How long an intermediate CA is valid, and after how long it, and the root, are replaced. */
  intermediateSeconds: number;
  intermediateRotateSeconds: number;
  rootRotateSeconds: number;
  /** Least time between the steps of a change of the root: longer than join tokens live and replicas take to hear. */
  caSettleSeconds: number;
  /** Within what time everybody renews after the trust bundle has changed. */
  renewSpreadSeconds: number;
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
  /** The same for all sessions of a namespace together; a session meets its own bounds first. */
  namespaceLeaseBurst: number;
  namespaceLeasesPerSecond: number;
  namespaceUsageBurst: number;
  namespaceUsagePerSecond: number;
  namespaceStrictUsageBurst: number;
  namespaceStrictUsagePerSecond: number;
  /** Sessions of a namespace that begin. */
  namespaceJoinBurst: number;
  namespaceJoinsPerSecond: number;
  /** Refusals that get an audit entry of their own; the rest are counted in the next one. */
  refusalBurst: number;
  refusalsPerSecond: number;
  connectionLimit: number;
  /** TLS handshakes at one time, those that wait for theirs, and how long they may. */
  handshakeLimit: number;
  handshakeQueue: number;
  handshakeWaitMs: number;
  /** Streams and snapshots of one session: as many at once, and as many a second in the long run. */
  sessionStreamBurst: number;
  sessionStreamsPerSecond: number;
  /** Streams that are opened a second, and joins, of all sessions. */
  streamsPerSecond: number;
  joinsPerSecond: number;
  /** Connections without a client certificate at one time. */
  strangerLimit: number;
  /** Event streams of one session: the newest ones stay. */
  streamsPerSession: number;
  /** And of a namespace: four fifths of what there is at most, so that no other is kept out. */
  streamsPerNamespace: number;
  /** Connections of one session, and of a namespace; requests of one session that are under way. */
  connectionsPerSession: number;
  connectionsPerNamespace: number;
  requestsPerSession: number;
  /** Bytes that a stream may lag behind before it is cut. */
  streamLagLimitBytes: number;
  requestSeconds: number;
  /** Data keys that a KMS has unwrapped: how long they are kept, and how many. */
  dataKeySeconds: number;
  dataKeyLimit: number;
  /** Data keys that a rotation of the KEK wraps anew in one transaction. */
  kekRotationBatch: number;
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
  intermediateSeconds: 90 * 86_400,
  intermediateRotateSeconds: 30 * 86_400,
  rootRotateSeconds: 5 * 365 * 86_400,
  caSettleSeconds: 120,
  renewSpreadSeconds: 60,
  joinTokenLimit: 4096,
  leaseBurst: 64,
  leasesPerSecond: 10,
  usageBurst: 16,
  usagePerSecond: 4,
  strictUsageBurst: 1000,
  strictUsagePerSecond: 500,
  namespaceLeaseBurst: 2_000,
  namespaceLeasesPerSecond: 500,
  namespaceUsageBurst: 2_000,
  namespaceUsagePerSecond: 1_000,
  namespaceStrictUsageBurst: 4_000,
  namespaceStrictUsagePerSecond: 2_000,
  namespaceJoinBurst: 2_000,
  namespaceJoinsPerSecond: 400,
  refusalBurst: 64,
  refusalsPerSecond: 8,
  connectionLimit: 24_000,
  handshakeLimit: 64,
  handshakeQueue: 1_024,
  handshakeWaitMs: 3_000,
  sessionStreamBurst: 32,
  sessionStreamsPerSecond: 4,
  streamsPerSecond: 1_000,
  joinsPerSecond: 500,
  strangerLimit: 256,
  streamsPerSession: 2,
  streamsPerNamespace: 12_000,
  connectionsPerSession: 32,
  connectionsPerNamespace: 19_200,
  requestsPerSession: 64,
  streamLagLimitBytes: 1024 * 1024,
  requestSeconds: 10,
  dataKeySeconds: 300,
  dataKeyLimit: 4096,
  kekRotationBatch: 64,
  drainSeconds: 3,
  tickMs: 1_000,
  headFileMs: 1_000,
};
