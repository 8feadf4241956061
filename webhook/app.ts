import type { Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fastify from 'fastify';
import type { Clock } from '../lib/clock.ts';
import { errorCode, errorText } from '../lib/errors.ts';
import type { KubeClient } from '../lib/kube/client.ts';
import { OneObject } from '../lib/kube/oneObject.ts';
import { trustBundleOf } from '../lib/kube/trustConfigMap.ts';
import type { Logger } from '../lib/log.ts';
import { MetricsServer } from '../lib/metricsServer.ts';
import { portInUse } from '../lib/portOwner.ts';
import type { WebhookConfig } from './config.ts';
import { webhookError } from './errors.ts';
import type { InjectSettings } from './inject/settings.ts';
import { ClusterObjects } from './known/clusterObjects.ts';
import { WebhookMetrics } from './metrics.ts';
import { AdmissionReview } from './review/admissionReview.ts';
import { type Answer, answerReview, refused } from './review/answerReview.ts';
import { type Certificate, certificateOf, createReviewServer, serve } from './tlsServer.ts';

/** Twice what an object may have in the API server, as an update brings the old one too (etcd: 1.5 MiB; requests: 3 MiB). */
const BODY_LIMIT_BYTES = 8 * 1024 * 1024;
/** While we end, answers close their connections, so that the API server goes elsewhere; it comes by that often at least. */
const DRAIN_MS = 2_000;

export interface WebhookDeps {
  config: WebhookConfig;
  kube: KubeClient;
  clock: Clock;
  log: Logger;
  /** By which pods call the API server, as InjectSettings has it. */
  apiServerAddress?: string | undefined;
}

export interface RunningWebhook {
  port: number;
  metricsPort: number;
  close(): Promise<void>;
}

/** Answers the API server about pods and workloads. Resolves once it listens; it is ready when it knows all it needs. @throws PortInUse */
export async function startWebhook({
  apiServerAddress,
  clock,
  config,
  kube,
  log,
}: WebhookDeps): Promise<RunningWebhook> {
  const { namespace, tlsSecret, trustConfigMap } = config.kubernetes;
  const follow = { client: kube, clock, log };
  const objects = new ClusterObjects(follow);
  const trust = new OneObject({
    ...follow,
    path: `/api/v1/namespaces/${namespace}/configmaps`,
    name: trustConfigMap,
    read: trustBundleOf,
  });
  const certificate = new OneObject<Certificate>({
    ...follow,
    path: `/api/v1/namespaces/${namespace}/secrets`,
    name: tlsSecret,
    read: (object) => {
      const read = certificateOf((object as { data?: Record<string, string> }).data);
      if (read === undefined)
        log.warn({ secret: tlsSecret }, 'the Secret has no certificate with its key; the last one stays in use');
      return read;
    },
    onChange: (read) => {
      serve(server, read);
      log.info({ until: new Date(read.endMs).toISOString() }, 'a certificate is served');
    },
  });
  const metrics = new WebhookMetrics(() => certificate.last?.endMs);
  let draining = false;
  const settingsOf = (podNamespace: string): InjectSettings => {
    if (trust.last === undefined || !objects.synced) throw webhookError('NotReady');
    return {
      ...config.sidecar,
      storeUrl: config.storeUrl,
      trustBundlePem: trust.last.pem,
      clusterDomain: config.clusterDomain,
      apiServerAddress,
      namespace: podNamespace,
      objects: objects.of(podNamespace),
    };
  };
  const answer = (body: unknown): Answer => {
    const parsed = AdmissionReview.safeParse(body);
    if (!parsed.success) throw webhookError('ReviewInvalid');
    const { request } = parsed.data;
    const startedMs = clock.monotonicMs();
    const given = answerOrRefuse(request, () =>
      answerReview(request, { inject: settingsOf, trustedControllers: config.trustedControllers }),
    );
    const seconds = (clock.monotonicMs() - startedMs) / 1000;
    const warnings = given.response.warnings?.length ?? 0;
    metrics.reviewed(request.kind.kind, given.outcome, given.code ?? '', seconds, warnings);
    const { kind, userInfo } = request;
    const fields = { kind: kind.kind, namespace: request.namespace, user: userInfo.username, outcome: given.outcome };
    if (given.outcome === 'refused') log.warn({ ...fields, code: given.code }, 'an object is refused');
    else log.debug(fields, 'an object was reviewed');
    return given;
  };
  const answerOrRefuse = (request: { uid: string }, decide: () => Answer): Answer => {
    try {
      return decide();
    } catch (error) {
      if (errorCode(error) === 'NotReady') return refused(request, 'NotReady', errorText(error));
      log.error({ error: errorText(error), stack: (error as Error).stack }, 'a review failed by a fault of ours');
      return refused(request, 'InternalError', 'the webhook failed; its log has the cause');
    }
  };

  const app = fastify({
    bodyLimit: BODY_LIMIT_BYTES,
    forceCloseConnections: 'idle',
    serverFactory: (handler) => createReviewServer(handler),
  });
  const server = app.server as unknown as Server;
  app.post('/mutate', async (request, reply) => {
    if (draining) reply.header('connection', 'close');
    const { response } = answer(request.body);
    return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response };
  });
  app.setErrorHandler(async (error, _request, reply) => {
    const code = errorCode(error) ?? 'InternalError';
    const status = code === 'ReviewInvalid' ? 400 : ((error as { statusCode?: number }).statusCode ?? 500);
    log.warn({ code, error: errorText(error) }, 'a request is no review');
    return reply.code(status).send({ error: { code, message: errorText(error) } });
  });

  const probes = new MetricsServer({
    part: 'webhook',
    look: async () => {
      const state = {
        certificate: certificate.last !== undefined && certificate.last.endMs > clock.nowMs(),
        trustBundle: trust.last !== undefined,
        objects: objects.synced,
      };
      return { ready: !draining && Object.values(state).every(Boolean), ...state };
    },
    registry: metrics.registry,
  });
  const metricsPort = await probes.listen(config.metricsPort, config.metricsHost);
  try {
    await app.listen({ host: config.listenHost, port: config.listenPort });
  } catch (error) {
    probes.close();
    if (errorCode(error) !== 'EADDRINUSE') throw error;
    const why = `The webhook cannot listen on ${config.listenHost}: ${portInUse(config.listenPort)}. Stop that or choose another port.`;
    throw webhookError('PortInUse', why);
  }
  const followed = [objects, trust, certificate];
  for (const one of followed) one.start();
  return {
    port: (server.address() as AddressInfo).port,
    metricsPort,
    close: async () => {
      draining = true;
      await sleep(DRAIN_MS);
      await app.close();
      for (const one of followed) one.close();
      probes.close();
      await kube.close();
    },
  };
}
