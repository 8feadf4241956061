import { readFileSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import { dirname } from 'node:path';
import type { StoreBootstrap, StoreKubernetes } from '../api/bootstrap.ts';
import type { Clock } from '../lib/clock.ts';
import { errorText } from '../lib/errors.ts';
import { KubeClient } from '../lib/kube/client.ts';
import { inClusterTarget } from '../lib/kube/inCluster.ts';
import type { Logger } from '../lib/log.ts';
import { MetricsServer } from '../lib/metricsServer.ts';
import { type StateFiles, stateFiles } from '../lib/stateDir.ts';
import { adminRoutes } from './api/adminRoutes.ts';
import { createHttp } from './api/http.ts';
import { kekRoutes } from './api/kekRoutes.ts';
import { protocolRoutes } from './api/protocolRoutes.ts';
import { createAdminServer, createProtocolServer, listenTcp, listenUnix, secureContextOf } from './api/servers.ts';
import { DatabaseUrl, defaultSettings, type Settings } from './config.ts';
import { openCore } from './core.ts';
import { storeError } from './errors.ts';
import type { CertificateAuthority } from './identity/certificateAuthority.ts';
import { ServerLeaf } from './identity/serverLeaf.ts';
import { PodIdentities } from './kubernetes/podIdentity.ts';
import { TrustPublisher } from './kubernetes/trustPublisher.ts';
import { Health } from './metrics/health.ts';
import { healthGauges, storeGauges } from './metrics/storeGauges.ts';
import { StoreMetrics } from './metrics/storeMetrics.ts';
import { openWhenUnsealed } from './sealedStart.ts';
import type { SealReason } from './vault/sealed.ts';

export interface StoreDeps {
  bootstrap: StoreBootstrap;
  clock: Clock;
  log: Logger;
  /** Called when the process can no longer keep its promises and must end. */
  fatal: (error: Error) => void;
  /** Called when the store cannot start yet for want of its keys, and again when the reason is another. */
  sealed?: (reason: SealReason) => void;
  settings?: Partial<Settings>;
}

export interface RunningStore {
  storeUrl: string;
  trustBundlePem: string;
  /** Of the metrics, if they are served. */
  metricsPort: number | undefined;
  /** Ends streams, lets requests in flight finish for a moment, writes out what is left. */
  close(): Promise<void>;
}

/** Opens the database, once its keys can be had, then the two listeners. @throws any StoreErrorCode with status 0 */
export async function startStore(deps: StoreDeps): Promise<RunningStore> {
  const { bootstrap, clock, log } = deps;
  const settings = { ...defaultSettings, ...deps.settings };
  const files = stateFiles(bootstrap.stateDir);
  const { kek } = bootstrap;
  const databaseUrl = databaseUrlOf(bootstrap);
  const health = new Health();
  const metrics = new StoreMetrics();
  const { metricsServer, metricsPort } = await serveMetrics(bootstrap, health, metrics);
  const store = await openWhenUnsealed(
    () => openCore({ files, databaseUrl, kek, clock, log, settings, fatal: deps.fatal, metrics }),
    {
      adminSocket: files.adminSocket,
      settings,
      log,
      sealed: (reason) => {
        health.sealedBy(reason);
        deps.sealed?.(reason);
      },
    },
  ).catch((error: unknown) => {
    metricsServer?.close();
    throw error;
  });
  try {
    const leaf = new ServerLeaf({ ca: store.ca, clock, trustDomain: settings.trustDomain });
    let tls: TlsServer | undefined;
    const protocol = createHttp({
      log,
      metrics,
      serverFactory: (handler) => (tls = createProtocolServer(handler, leaf, settings)),
    });
    const cluster = bootstrap.kubernetes && inCluster(bootstrap.kubernetes, store.ca, log);
    protocolRoutes(protocol, store, cluster?.pods);
    let unix: Server | undefined;
    const admin = createHttp({
      log,
      metrics,
      serverFactory: (handler) => (unix = createAdminServer(handler, settings)),
    });
    adminRoutes(admin, store);
    kekRoutes(admin, store);
    await Promise.all([protocol.ready(), admin.ready()]);

    tls!.on('secureConnection', (socket) => store.admission.connected(socket));
    const { port } = await listenTcp(tls!, bootstrap.listenHost, bootstrap.listenPort);
    await listenUnix(unix!, files.adminSocket);
    const serveLeaf = () => tls!.setSecureContext(secureContextOf(leaf));
    store.ca.onChange(() => {
      leaf.renew();
      serveLeaf();
      cluster?.trust?.publish();
    });
    cluster?.trust?.publish();
    const tick = setInterval(() => {
      if (leaf.renew()) serveLeaf();
      store.tick().catch((error: unknown) => {
        metrics.refreshFailed();
        log.error({ error: errorText(error) }, 'periodic work failed');
      });
    }, settings.tickMs);
    await store.audit.record({ kind: 'store.started' });
    storeGauges(metrics, { store, clock, serverCertificate: () => leaf.certificatePem });
    health.opened(store);

    return {
      storeUrl: `https://${urlHost(bootstrap.listenHost)}:${port}`,
      metricsPort,
      get trustBundlePem() {
        return store.ca.trustBundlePem;
      },
      close: async () => {
        clearInterval(tick);
        cluster?.trust?.close();
        store.drain();
        await Promise.all([stop(tls!, settings), stop(unix!, settings)]);
        metricsServer?.close();
        removeSocketDir(files);
        await cluster?.client.close();
        await store.close();
      },
    };
  } catch (error) {
    metricsServer?.close();
    await store.close();
    throw error;
  }
}

/** From before the database is open: also a sealed store says that it is. */
async function serveMetrics(
  { metricsHost = '127.0.0.1', metricsPort }: StoreBootstrap,
  health: Health,
  metrics: StoreMetrics,
): Promise<{ metricsServer?: MetricsServer; metricsPort?: number }> {
  if (metricsPort === undefined) return {};
  healthGauges(metrics.withProcess(), health);
  const metricsServer = new MetricsServer({ part: 'store', look: () => health.look(), registry: metrics.registry });
  return { metricsServer, metricsPort: await metricsServer.listen(metricsPort, metricsHost) };
}

/** @throws BootstrapInvalid */
function databaseUrlOf({ databaseUrl, databaseUrlFile }: StoreBootstrap): string | undefined {
  if (databaseUrlFile === undefined) return databaseUrl;
  let text: string;
  try {
    text = readFileSync(databaseUrlFile, 'utf8').trim();
  } catch (error) {
    throw storeError('BootstrapInvalid', `The file ${databaseUrlFile} cannot be read: ${errorText(error)}.`);
  }
  // What is in it may be a password.
  if (!DatabaseUrl.safeParse(text).success)
    throw storeError(
      'BootstrapInvalid',
      `The file ${databaseUrlFile} does not hold a URL that begins with postgres://.`,
    );
  return text;
}

/** What a store in a cluster asks of the API server, and tells it. */
function inCluster({ apiServer, operator, trustConfigMap }: StoreKubernetes, ca: CertificateAuthority, log: Logger) {
  const client = new KubeClient(inClusterTarget(apiServer));
  return {
    client,
    pods: new PodIdentities({ client, log, operator }),
    trust:
      trustConfigMap &&
      new TrustPublisher({ client, log, configMap: trustConfigMap, trustBundlePem: () => ca.trustBundlePem }),
  };
}

function stop(server: Server, settings: Settings): Promise<void> {
  return new Promise((resolve) => {
    const force = setTimeout(() => server.closeAllConnections(), settings.drainSeconds * 1000);
    server.close(() => {
      clearTimeout(force);
      resolve();
    });
    server.closeIdleConnections();
  });
}

/** Where the socket has a directory of its own, that goes with it. */
function removeSocketDir(files: StateFiles): void {
  const dir = dirname(files.adminSocket);
  if (dir !== files.dir) rmSync(dir, { recursive: true, force: true });
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
