import { setTimeout as delay } from 'node:timers/promises';
import type { SidecarBootstrap } from '../api/bootstrap.ts';
import type { Clock } from '../lib/clock.ts';
import { errorCode, errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { portInUse } from '../lib/portOwner.ts';
import { writeBundleFile } from './bundleFile.ts';
import { type Bounds, defaultBounds } from './config.ts';
import type { SidecarDeps } from './deps.ts';
import { LiveGrants } from './grants/liveGrants.ts';
import { EventStream } from './link/eventStream.ts';
import { Identity } from './link/identity.ts';
import { InterceptCa } from './listen/interceptCa.ts';
import { ProxyListener } from './listen/proxyListener.ts';
import { HealthServer } from './record/healthServer.ts';
import { Metrics } from './record/metrics.ts';
import { UsageLog } from './record/usage.ts';
import { isStartError, START_ERRORS, type StartErrorCode, startError } from './startErrors.ts';
import { proxySelector } from './upstream/proxy.ts';
import { trustedRootsPem } from './upstream/trust.ts';
import { Upstreams } from './upstream/upstreams.ts';

const HOST = '127.0.0.1';
/** For telling the store of the last uses and of the end, should it not answer. */
const FAREWELL_MS = 3_000;
/** The proxy serves at the latest this long after the store was joined, snapshot or not: a store that falls silent must not keep the agent from hearing why. */
const SNAPSHOT_WAIT_MS = 2_000;

export interface SidecarOptions {
  bootstrap: SidecarBootstrap;
  clock: Clock;
  log: Logger;
  env: NodeJS.ProcessEnv;
  limits?: Partial<Bounds>;
}

export interface RunningSidecar {
  proxyPort: number;
  healthPort: number;
  caPem: string;
  /** Takes nothing new, lets what runs finish for `graceMs`, tells the store of the last uses, and ends the session. */
  stop(graceMs: number): Promise<void>;
}

/** Joins the store, then listens. @throws CodedError of START_ERRORS */
export async function startSidecar(options: SidecarOptions): Promise<RunningSidecar> {
  const { bootstrap, clock, env, log } = options;
  let stopping = false;
  const ownPorts = new Set<number>();
  const metrics = new Metrics();
  const revoked = (reason: string) => grants.end(reason);
  // The store's answer takes a moment; the rest is prepared meanwhile.
  const joining = Identity.join({ bootstrap, clock, log, revoked });
  joining.catch(() => {});
  const rootsPem = orStartError('ExtraCaInvalid', () => trustedRootsPem(bootstrap.extraCaFile, env));
  const proxyFor = orStartError('ProxyInvalid', () => proxySelector(env));
  const upstreams = new Upstreams({ clock, rootsPem, ownPorts, proxyFor });
  const ca = new InterceptCa({ clock });
  orStartError('BundleUnwritable', () => writeBundleFile(bootstrap.bundleFile, rootsPem, ca.caPem));
  upstreams.prewarm();
  const identity = await joining;
  const { client } = identity;

  const grants = new LiveGrants({ clock, log, source: client });
  const usage = new UsageLog({ clock, log, metrics, sink: client });
  const limits = { ...defaultBounds, ...options.limits };
  const deps: SidecarDeps = {
    ca,
    clock,
    egress: bootstrap.egress,
    grants,
    limits,
    log,
    metrics,
    ownPorts,
    upstreams,
    usage,
  };
  // Connections that were opened for what is gone; their ids are made in exchange/target.ts.
  grants.onRevoked((integration) => upstreams.dropIdle((id) => id.endsWith(` ${integration}`)));
  grants.onVersion((credential) => upstreams.dropIdle((id) => id.includes(` ${credential}@`)));
  const events = new EventStream({
    replicas: identity.replicas,
    context: () => identity.context,
    event: (event) => (event.type === 'renew' ? identity.renewWithin(event.withinSeconds) : grants.apply(event)),
    log,
    revoked,
  });
  const unready = () => {
    if (stopping) return 'the sidecar is stopping';
    if (grants.ended !== undefined) return `the session has ended: ${grants.ended}`;
    return grants.ready ? undefined : 'the store has not said yet what this session may use';
  };
  const health = new HealthServer({
    unready,
    metrics: () =>
      metrics.render({
        leases: grants.leases.stats(),
        ready: unready() === undefined,
        upstreams: upstreams.stats(),
      }),
  });
  const proxy = new ProxyListener(deps);
  try {
    const healthPort = await listen(health, bootstrap.healthPort);
    const proxyPort = await listen(proxy, bootstrap.proxyPort);
    ownPorts.add(healthPort).add(proxyPort);
    await grants.settled(SNAPSHOT_WAIT_MS);
    return {
      caPem: ca.caPem,
      healthPort,
      proxyPort,
      stop: async (graceMs) => {
        stopping = true;
        await proxy.drain(graceMs);
        upstreams.close();
        events.close();
        await Promise.race([farewell(), delay(FAREWELL_MS)]);
        close();
      },
    };
  } catch (error) {
    await Promise.race([farewell(), delay(FAREWELL_MS)]);
    close();
    throw error;
  }

  /** The last uses, then the end. */
  async function farewell(): Promise<void> {
    await usage.flush();
    if (grants.ended === undefined) await endSession(identity, log);
  }

  function close(): void {
    events.close();
    grants.leases.end();
    identity.close();
    health.close();
  }
}

async function endSession({ client }: Identity, log: Logger): Promise<void> {
  try {
    await client.endSession();
  } catch (error) {
    log.warn({ error: errorText(error) }, 'the store was not told of the end of the session; it will see by itself');
  }
}

/** @throws CodedError with the code, naming what is wrong; errors that have one of ours keep it. */
function orStartError<T>(code: StartErrorCode, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw isStartError(error) ? error : startError(code, `${START_ERRORS[code].help} (${errorText(error)})`);
  }
}

interface Listener {
  listen(port: number, host: string): Promise<number>;
}

async function listen(listener: Listener, port: number): Promise<number> {
  try {
    return await listener.listen(port, HOST);
  } catch (error) {
    const code = errorCode(error);
    if (code !== 'EADDRINUSE' && code !== 'PortInUse') throw error;
    throw startError('PortInUse', `The sidecar cannot listen on ${HOST}:${port}: ${portInUse(port)}.`);
  }
}
