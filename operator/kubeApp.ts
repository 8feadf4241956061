import { readFile } from 'node:fs/promises';
import type { JoinProof } from '../api/protocol.ts';
import type { Clock } from '../lib/clock.ts';
import type { KubeClient } from '../lib/kube/client.ts';
import type { ReflectorState } from '../lib/kube/reflector.ts';
import type { Logger } from '../lib/log.ts';
import { Finalizers } from './act/kube/finalizers.ts';
import { KubeEvents } from './act/kube/kubeEvents.ts';
import { KubeStatuses } from './act/kube/kubeStatuses.ts';
import { worthTelling } from './act/kube/statusEvents.ts';
import { StoreClient } from './act/storeClient.ts';
import type { OperatorConfig } from './config.ts';
import { operatorError } from './errors.ts';
import type { OperatorMetrics } from './metrics/operatorMetrics.ts';
import { PodSessions } from './pods/podSessions.ts';
import { Reconciler } from './reconciler.ts';
import { KubeSource } from './source/kube/kubeSource.ts';
import { StoreLink } from './storeLink.ts';
import { TrustBundle } from './trustBundle.ts';

/** How long the store may take to be joined before statuses say that it is away. */
const JOIN_GRACE_MS = 10_000;
/** What is being told to the store when we are asked to end may finish. */
const DRAIN_MS = 2_000;

export interface KubeOperatorDeps {
  config: OperatorConfig;
  kube: KubeClient;
  clock: Clock;
  log: Logger;
  metrics: OperatorMetrics;
  /** Who writes: of Events. */
  identity: string;
  /** Whether we lead: asked before anything is written. */
  permitted: () => boolean;
  /** By a projected token unless a test has another way. */
  proof?: () => Promise<JoinProof>;
}

export interface RunningKubeOperator {
  close(): Promise<void>;
}

/** Makes the store hold what the objects of the cluster say; resolves once all of them are known. */
export async function startKubeOperator(deps: KubeOperatorDeps): Promise<RunningKubeOperator> {
  const { clock, config, identity, kube, log, metrics, permitted } = deps;
  const { namespace, secretReaderRole, serviceAccount, trustConfigMap } = config.kubernetes;
  const source = new KubeSource({
    client: kube,
    clock,
    log,
    serviceAccount: { namespace, name: serviceAccount },
    secretReaderRole,
    onMetadata: () => finalizers?.lookSoon(),
    onStatus: (kind, key, status) => statuses?.seen(kind, key, status),
  });
  const trust = new TrustBundle({
    client: kube,
    namespace,
    name: trustConfigMap,
    clock,
    log,
    onChange: () => link.trustChanged(),
  });
  const client = new StoreClient(config.storeUrl, () => (permitted() ? undefined : operatorError('LeadershipLost')));
  const events = new KubeEvents({ client: kube, clock, log, instance: identity });
  const lost = (error: Error) => link.lost(error);
  const pods = new PodSessions({ kube, store: client, clock, log, permitted, onLost: lost });
  /** Before the store was heard once, a round would say of everything that it is not in the store. */
  let begun = false;
  const link = new StoreLink({
    client,
    log,
    trustBundlePem: () => trust.pem,
    proof: deps.proof ?? (async () => ({ serviceAccountToken: (await readFile(config.tokenFile, 'utf8')).trim() })),
    onConnected: () => {
      begin();
      reconciler?.storeConnected();
      pods.storeConnected();
    },
    onEvent: ({ credential }) => reconciler?.storeChanged(credential),
    onAway: (why) => {
      pods.storeAway();
      metrics.failed('store');
      if (begun) reconciler?.storeAway(why);
    },
  });
  let reconciler: Reconciler | undefined;
  let finalizers: Finalizers | undefined;
  let statuses: KubeStatuses | undefined;
  const begin = () => {
    begun = true;
    clearTimeout(grace);
  };
  let grace: NodeJS.Timeout | undefined;
  trust.start();
  const trusted = trust.first();
  await source.start(() => {
    if (begun) reconciler?.trigger();
  });
  statuses = new KubeStatuses({
    client: kube,
    log,
    first: source.firstStatuses(),
    exists: (kind, key) => source.item(kind, key) !== undefined,
    permitted,
    onChange: (kind, key, before, after) => {
      const condition = worthTelling(before, after);
      if (condition === undefined) return;
      const [namespaceOf, name] = key.split('/') as [string, string];
      const uid = source.item(kind, key)?.uid;
      events.warn({ kind, namespace: namespaceOf, name, uid }, eventReason(condition), condition.message);
    },
  });
  finalizers = new Finalizers({
    client: kube,
    clock,
    log,
    events,
    permitted,
    credentials: () => source.credentials.items,
    held: (key) => reconciler?.held?.credentials.has(key) ?? source.credentials.items.get(key)?.finalizer === true,
  });
  reconciler = new Reconciler({
    source,
    client,
    statuses,
    clock,
    log,
    onLost: lost,
    permitted,
    onRound: (seconds) => {
      metrics.round(seconds);
      finalizers?.look();
    },
  });
  showIn(metrics, { source, statuses, finalizers, pods, reconciler, link, trust });
  pods.start().catch((error: unknown) => log.error({ error: String(error) }, 'agent pods cannot be followed'));
  grace = setTimeout(() => {
    begin();
    if (!link.connected) reconciler.storeAway('it was not joined yet');
  }, JOIN_GRACE_MS);
  // Until the store has told what it is trusted by, nobody can be.
  trusted.then(() => link.start());
  return {
    close: async () => {
      clearTimeout(grace);
      link.close();
      await Promise.race([reconciler.close(), new Promise((resolve) => setTimeout(resolve, DRAIN_MS).unref())]);
      pods.close();
      finalizers?.close();
      statuses?.close();
      trust.close();
      source.close();
      await client.close();
    },
  };
}

/** The word of an Event is that of the condition, but of a conflict the condition itself says it better. */
function eventReason({ reason, type }: { reason: string; type: string }): string {
  return type === 'HostConflict' ? type : reason;
}

function showIn(
  metrics: OperatorMetrics,
  parts: {
    source: KubeSource;
    statuses: KubeStatuses;
    finalizers: Finalizers;
    pods: PodSessions;
    reconciler: Reconciler;
    link: StoreLink;
    trust: TrustBundle;
  },
): void {
  const { finalizers, link, pods, reconciler, source, statuses, trust } = parts;
  metrics.show({
    queues: () => ({
      statuses: statuses.depth,
      finalizers: finalizers.depth,
      pods: pods.depth,
      retries: reconciler.retries,
    }),
    objects: () => {
      const counts = new Map<string, number>();
      for (const [id, { conditions }] of statuses.previous) {
        const ready = conditions.find(({ type }) => type === 'Ready')?.status ?? 'Unknown';
        const label = `${id.slice(0, id.indexOf(' '))} ${ready}`;
        counts.set(label, (counts.get(label) ?? 0) + 1);
      }
      return counts;
    },
    reflectors: () => {
      const counts = new Map<string, number>();
      for (const [name, state] of [...source.states(), ['pods', pods.state], ['trust', trust.state]] as [
        string,
        ReflectorState,
      ][]) {
        const label = `${name.split('/')[0]} ${stateName(state)}`;
        counts.set(label, (counts.get(label) ?? 0) + 1);
      }
      return counts;
    },
    storeConnected: () => link.connected,
    pods: () => pods.podCount,
  });
}

function stateName({ failure, synced }: ReflectorState): string {
  if (failure !== undefined) return 'failed';
  return synced ? 'synced' : 'pending';
}
