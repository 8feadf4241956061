import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KubeTarget } from './client.ts';

const DIR = '/var/run/secrets/kubernetes.io/serviceaccount';
/** Tokens are replaced by the kubelet when four fifths of their life are over; a minute is soon enough. */
const TOKEN_KEPT_MS = 60_000;

export interface InClusterOptions {
  /** https://kubernetes.default.svc, or what KUBERNETES_SERVICE_HOST and _PORT say, if left out. */
  url?: string | undefined;
  caFile?: string | undefined;
  tokenFile?: string | undefined;
}

/** The API server of the cluster that this process is a pod of, as its ServiceAccount. @throws ENOENT if it is no pod */
export function inClusterTarget(options: InClusterOptions = {}): KubeTarget {
  const { caFile = join(DIR, 'ca.crt'), tokenFile = join(DIR, 'token'), url = serviceUrl() } = options;
  return { url, caPem: readFileSync(caFile, 'utf8'), headers: bearerOf(tokenFile) };
}

function serviceUrl(): string {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = process.env;
  if (host === undefined) return 'https://kubernetes.default.svc';
  return `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function bearerOf(tokenFile: string): KubeTarget['headers'] {
  let kept: { headers: Record<string, string>; untilMs: number } | undefined;
  return async () => {
    const nowMs = performance.now();
    if (kept === undefined || nowMs >= kept.untilMs) {
      const token = (await readFile(tokenFile, 'utf8')).trim();
      kept = { headers: { authorization: `Bearer ${token}` }, untilMs: nowMs + TOKEN_KEPT_MS };
    }
    return kept.headers;
  };
}
