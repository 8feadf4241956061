import { SIDECAR_ENV, SIDECAR_PORTS, SIDECAR_UID } from '../../api/pods.ts';
import { areHttpsUrls } from '../config.ts';
import { startError } from '../startErrors.ts';
import type { ExtraCa } from '../upstream/trust.ts';

/** Ports that are captured at the most. */
const CAPTURED_LIMIT = 64;

/** What the webhook has told the sidecar of a pod by its environment. */
export interface PodBootstrap {
  storeUrl: string;
  trustBundlePem: string;
  egress: 'Open' | 'Closed';
  /** The i-th is led to `SIDECAR_PORTS.transparentBase + i`. */
  capturePorts: readonly number[];
  extraCa: ExtraCa | undefined;
}

/** Reads SIDECAR_ENV for a process of that user. @throws BootstrapInvalid that names every variable that is wrong, and never its value */
export function podBootstrap(env: NodeJS.ProcessEnv, uid = process.getuid?.()): PodBootstrap {
  const problems: string[] = [];
  const wrong = (name: string, expected: string) => problems.push(`${name}: expected ${expected}`);
  const storeUrl = env[SIDECAR_ENV.storeUrl] ?? '';
  if (!areHttpsUrls(storeUrl)) wrong(SIDECAR_ENV.storeUrl, 'https:// URLs with commas between');
  const trustBundlePem = env[SIDECAR_ENV.trustBundle] ?? '';
  if (!trustBundlePem.includes('-----BEGIN CERTIFICATE-----'))
    wrong(SIDECAR_ENV.trustBundle, 'the certificates of the store, PEM');
  const egress = env[SIDECAR_ENV.egress] || 'Open';
  if (egress !== 'Open' && egress !== 'Closed') wrong(SIDECAR_ENV.egress, 'Open or Closed');
  const capturePorts = portsOf(env[SIDECAR_ENV.capturePorts] ?? '');
  if (capturePorts === undefined)
    wrong(
      SIDECAR_ENV.capturePorts,
      `at most ${CAPTURED_LIMIT} different ports, none of the sidecar's own, with commas between`,
    );
  else if (capturePorts.length > 0 && uid !== SIDECAR_UID)
    problems.push(
      `the sidecar runs as user ${uid}, so what it sends would be captured as well: securityContext.runAsUser must be ${SIDECAR_UID}`,
    );
  if (problems.length > 0)
    throw startError(
      'BootstrapInvalid',
      `The environment of the sidecar, which the webhook of Sidekey writes, is not valid: ${problems.join('; ')}. Create the pod anew; if it comes out the same, look at the values of the chart.`,
    );
  const extraCaPem = env[SIDECAR_ENV.extraCa];
  return {
    storeUrl,
    trustBundlePem,
    egress: egress as PodBootstrap['egress'],
    capturePorts: capturePorts!,
    extraCa: extraCaPem ? { from: SIDECAR_ENV.extraCa, pem: extraCaPem } : undefined,
  };
}

function portsOf(text: string): readonly number[] | undefined {
  if (text.trim() === '') return [];
  const ports = text.split(',').map((item) => (/^[1-9][0-9]{0,4}$/.test(item.trim()) ? Number(item) : 0));
  const fits = ports.every((port) => port > 0 && port <= 65_535 && !isOwn(port));
  return fits && ports.length <= CAPTURED_LIMIT && new Set(ports).size === ports.length ? ports : undefined;
}

function isOwn(port: number): boolean {
  const { health, proxy, transparentBase } = SIDECAR_PORTS;
  return port === health || port === proxy || (port >= transparentBase && port < transparentBase + CAPTURED_LIMIT);
}
