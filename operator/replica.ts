import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { JoinProof } from '../api/protocol.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import { KubeClient } from '../lib/kube/client.ts';
import { inClusterTarget } from '../lib/kube/inCluster.ts';
import type { Logger } from '../lib/log.ts';
import { MetricsServer } from '../lib/metricsServer.ts';
import type { OperatorConfig } from './config.ts';
import { operatorError } from './errors.ts';
import { type RunningKubeOperator, startKubeOperator } from './kubeApp.ts';
import { LeaderElection } from './leader/leaderElection.ts';
import { OperatorMetrics } from './metrics/operatorMetrics.ts';
import { WebhookTls } from './webhookTls/webhookTls.ts';

export interface ReplicaDeps {
  config: OperatorConfig;
  clock: Clock;
  log: Logger;
  /** Called when the process must end. */
  fatal: (error: Error) => void;
  /** How the store is joined, if not by the projected token. */
  proof?: () => Promise<JoinProof>;
}

/** One of the operators of a cluster: stands by until it leads, then does the work. Resolves once it stands by. @throws PortInUse */
export async function startReplica({
  clock,
  config,
  fatal,
  log,
  proof,
}: ReplicaDeps): Promise<{ close(): Promise<void> }> {
  const { apiServer, identity: name = hostname(), leaseName, namespace } = config.kubernetes;
  const metrics = new OperatorMetrics();
  const target = inClusterTarget(apiServer);
  const onError = () => metrics.failed('api');
  const leases = new KubeClient(target, { onError });
  const kube = new KubeClient(target, {
    onError,
    refusal: () => (election.leading ? undefined : operatorError('LeadershipLost')),
  });
  const server = new MetricsServer({
    part: 'operator',
    // A standby is as ready as it gets.
    look: async () => ({ ready: true, leader: election.leading }),
    registry: metrics.registry,
  });
  // Also after a restart of the container within one pod it is another one.
  const identity = `${name}_${randomUUID()}`;
  const election = new LeaderElection({
    client: leases,
    namespace,
    name: leaseName,
    identity,
    clock,
    log,
    onLost: (why) => fatal(operatorError('LeadershipLost', `This process leads no more: ${why}.`)),
  });
  metrics.leading(() => election.leading);
  const port = await server.listen(config.metricsPort, config.metricsHost);
  log.info({ port, identity }, 'the operator stands by');
  let running: RunningKubeOperator | undefined;
  let webhookTls: WebhookTls | undefined;
  const started = election.lead().then(async () => {
    if (!election.leading) return;
    const { webhookTls: settings } = config.kubernetes;
    if (settings !== undefined) {
      webhookTls = new WebhookTls({ client: kube, clock, log, settings: { namespace, ...settings } });
      webhookTls.start();
    }
    running = await startKubeOperator({
      config,
      kube,
      clock,
      log,
      metrics,
      identity: name,
      permitted: () => election.leading,
      ...(proof && { proof }),
    });
    log.info({}, 'all objects are known');
  });
  started.catch((error: unknown) => fatal(new Error(errorText(error), { cause: error })));
  return {
    close: async () => {
      webhookTls?.close();
      await running?.close();
      await election.release();
      server.close();
      await kube.close();
      await leases.close();
    },
  };
}
