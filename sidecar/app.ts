import type { SidecarBootstrap } from '../api/bootstrap.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { Assembly, orStartError } from './assembly.ts';
import { writeBundleFile } from './bundleFile.ts';
import type { Bounds } from './config.ts';
import { Identity } from './link/identity.ts';
import { InterceptCa } from './listen/interceptCa.ts';
import { proxySelector } from './upstream/proxy.ts';
import { trustedRootsPem } from './upstream/trust.ts';

const HOST = '127.0.0.1';
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

/** A sidecar that a parent process started: joins the store, then listens. @throws CodedError of START_ERRORS */
export async function startSidecar(options: SidecarOptions): Promise<RunningSidecar> {
  const { bootstrap, clock, env, limits, log } = options;
  const revoked = (reason: string) => parts.grants.end(reason);
  // The store's answer takes a moment; the rest is prepared meanwhile.
  const joining = Identity.join({ bootstrap, clock, log, revoked });
  joining.catch(() => {});
  const rootsPem = orStartError('ExtraCaInvalid', () => trustedRootsPem(bootstrap.extraCaFile, env));
  const proxyFor = orStartError('ProxyInvalid', () => proxySelector(env));
  const ca = new InterceptCa({ clock });
  const parts = new Assembly({ ca, clock, egress: bootstrap.egress, limits, log, proxyFor, rootsPem });
  orStartError('BundleUnwritable', () => writeBundleFile(bootstrap.bundleFile, rootsPem, ca.caPem));
  parts.prewarm();
  parts.membership.begin(await joining, revoked);
  try {
    const healthPort = await parts.listenHealth(bootstrap.healthPort, HOST);
    const proxyPort = await parts.listenProxy(bootstrap.proxyPort, HOST);
    await parts.grants.settled(SNAPSHOT_WAIT_MS);
    return { caPem: ca.caPem, healthPort, proxyPort, stop: (graceMs) => parts.stop(graceMs) };
  } catch (error) {
    await parts.abandon();
    throw error;
  }
}
