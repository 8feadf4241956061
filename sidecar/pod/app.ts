import { SIDECAR_PATHS, SIDECAR_PORTS } from '../../api/pods.ts';
import type { JoinProof } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorCode } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { Assembly, orStartError } from '../assembly.ts';
import { bundlePem, writePublicFile } from '../bundleFile.ts';
import type { Bounds } from '../config.ts';
import { InterceptCa } from '../listen/interceptCa.ts';
import { proxySelector } from '../upstream/proxy.ts';
import { trustedRootsPem } from '../upstream/trust.ts';
import { Admission } from './admission.ts';
import { KeptCa } from './keptCa.ts';
import { KeptTrust } from './keptTrust.ts';
import { podBootstrap } from './podBootstrap.ts';
import { podToken } from './podToken.ts';
import { PrivateFiles } from './privateFiles.ts';

/** Agents share our network namespace; nobody else is to use the proxy. */
const LOOPBACK_V4 = '127.0.0.1';
const LOOPBACK_V6 = '::1';

export interface PodOptions {
  clock: Clock;
  log: Logger;
  env: NodeJS.ProcessEnv;
  limits?: Partial<Bounds>;
  /** How the store is told who this is, if not by the token of the pod. */
  proof?: () => Promise<JoinProof>;
}

export interface PodSidecar {
  stop(graceMs: number): Promise<void>;
}

/**
 * The sidecar of a pod: listens first, so that the pod starts also while the store is away, and joins as long as that takes.
 *
 * @throws CodedError of START_ERRORS
 */
export async function startInPod({ clock, env, limits, log, proof = byToken }: PodOptions): Promise<PodSidecar> {
  const { capturePorts, egress, extraCa, storeUrl, trustBundlePem } = podBootstrap(env);
  const rootsPem = orStartError('ExtraCaInvalid', () => trustedRootsPem(extraCa, env));
  const proxyFor = orStartError('ProxyInvalid', () => proxySelector(env));
  const files = new PrivateFiles(SIDECAR_PATHS.privateDir);
  const trust = new KeptTrust(files, trustBundlePem, log);
  const ca = new InterceptCa({ clock, keeper: new KeptCa(files, log) });
  const caPem = orStartError('PrivateDirUnwritable', () => ca.caPem);
  const parts = new Assembly({
    ca,
    clock,
    egress,
    limits,
    log,
    proxyFor,
    rootsPem,
    unjoined: () => admission.failure,
  });
  const { grants, membership } = parts;
  const admission = new Admission({ clock, log, storeUrl, grants, membership, trust, proof });
  admission.start();
  const stop = async (graceMs: number) => {
    admission.close();
    await parts.stop(graceMs);
  };
  try {
    await writeBundles(bundlePem(rootsPem, caPem), clock);
    await listen(parts, capturePorts);
  } catch (error) {
    await stop(0);
    throw error;
  }
  parts.prewarm();
  return { stop };
}

async function byToken(): Promise<JoinProof> {
  return { serviceAccountToken: await podToken(SIDECAR_PATHS.tokenFile) };
}

/** In PEM, and as Java wants it. */
async function writeBundles(pem: string, clock: Clock): Promise<void> {
  orStartError('BundleUnwritable', () => writePublicFile(SIDECAR_PATHS.bundleFile, pem));
  // Only now and never again.
  const { javaTrustStore } = await import('../../lib/agent/javaTrustStore.ts');
  const store = javaTrustStore(pem, new Date(clock.nowMs()));
  orStartError('BundleUnwritable', () => writePublicFile(SIDECAR_PATHS.trustStoreFile, store));
}

/** Health comes last: that it answers means that all the others do. */
async function listen(parts: Assembly, capturePorts: readonly number[]): Promise<void> {
  const { health, proxy, transparentBase } = SIDECAR_PORTS;
  await onLoopback((host) => parts.listenProxy(proxy, host));
  for (const [index, port] of capturePorts.entries())
    await onLoopback((host) => parts.listenCaptured(transparentBase + index, host, port));
  // The kubelet asks at the address of the pod.
  if (!(await ifSupported(parts.listenHealth(health, '::')))) await parts.listenHealth(health, '0.0.0.0');
}

async function onLoopback(listenOn: (host: string) => Promise<number>): Promise<void> {
  await listenOn(LOOPBACK_V4);
  await ifSupported(listenOn(LOOPBACK_V6));
}

/** False where there is no IPv6. */
async function ifSupported(listening: Promise<number>): Promise<boolean> {
  try {
    await listening;
    return true;
  } catch (error) {
    const code = errorCode(error);
    if (code !== 'EADDRNOTAVAIL' && code !== 'EAFNOSUPPORT') throw error;
    return false;
  }
}
