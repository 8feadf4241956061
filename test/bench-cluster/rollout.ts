import { readFileSync } from 'node:fs';
import { hostOf } from '../cluster/e2e/upstreamPod.ts';
import { type Installed, NAMESPACE, until } from './installed.ts';
import { type Note, round } from './rows.ts';

const NAME = 'rollout';
/** Of a pod: its sidecar, a shell, and what containerd keeps of it. */
const POD_MB = 110;
const SPARE_MB = 5_000;
/** That a node takes, less those of the cluster itself. */
const PODS_LIMIT = 250;
const SURGE = 0.1;
const LIMIT_MS = 600_000;
const REPORT_LIMIT_MS = 30_000;
/** At once the one request that counts; then it is told what came of it, past the sidecar. */
const AGENT = `
  code=$(curl -s -o /dev/null -w '%{http_code},%{exitcode},%header{sidekey-error}' "$TARGET/first/$NAME")
  curl -s -o /dev/null --retry 20 --retry-connrefused --noproxy '*' "http://${hostOf('third')}/report/$NAME/$code"
  exec sleep 86400`;

/** A Deployment that comes and is rolled over until it has had so many pods; as many at once as the machine holds. */
export async function rollout(installed: Installed, pods: number, note: Note): Promise<void> {
  const waves = Math.ceil(pods / roomFor(pods));
  const atOnce = Math.ceil(pods / waves);
  const labels = { app: NAME };
  await installed.apply({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: NAME, namespace: NAMESPACE },
    spec: {
      replicas: atOnce,
      progressDeadlineSeconds: 600,
      strategy: { rollingUpdate: { maxSurge: `${SURGE * 100}%`, maxUnavailable: `${SURGE * 100}%` } },
      selector: { matchLabels: labels },
      template: installed.template(['/bin/sh', '-c', AGENT], { labelled: true, labels }),
    },
  });
  const deployment = `deployment/${NAME}`;
  const reports = async () => {
    const asked = (await installed.asked()).map(({ path }) => path.split('/'));
    // One may tell it twice: it tries again where it does not know that it was heard.
    return new Map(asked.filter(([, what]) => what === 'report').map(([, , name, result]) => [name!, result!]));
  };
  const wait = () =>
    installed.kubectl('-n', NAMESPACE, 'rollout', 'status', deployment, `--timeout=${LIMIT_MS / 1_000}s`);
  let seconds = 0;
  for (let wave = 0; wave < waves; wave += 1) {
    if (wave > 0) await installed.kubectl('-n', NAMESPACE, 'rollout', 'restart', deployment);
    const waveMs = performance.now();
    await wait();
    seconds += (performance.now() - waveMs) / 1_000;
    // Until then none is rolled over: a request that was cut off would not be the sidecar's fault. What stays silent shows below.
    const all = async () => (await reports()).size >= atOnce * (wave + 1);
    await until('all agents have told of their first request', all, REPORT_LIMIT_MS).catch(() => {});
  }
  const told = await reports();
  const failed = [...told].filter(([, result]) => !result.startsWith('200,'));
  const refused = await failedCreations(installed);
  await installed.kubectl('-n', NAMESPACE, 'delete', deployment, '--wait=false');
  const size = `${atOnce * waves} pods${waves > 1 ? `, ${atOnce} at once` : ''}`;
  note('rolloutAdmission', `${refused} of ${size}`, { refused, pods: atOnce * waves, atOnce }, refused === 0);
  note(
    'rolloutFirst',
    `${failed.length} of ${told.size}${
      failed.length > 0
        ? `: ${failed
            .slice(0, 3)
            .map(([name, code]) => `${name} ${code}`)
            .join(', ')}`
        : ''
    }`,
    { failed: failed.length, told: told.size },
    failed.length === 0 && told.size >= atOnce * waves,
  );
  note('rolloutTime', `${round(seconds)} s, ${round((atOnce * waves) / seconds)} pods/s`, { seconds, waves });
}

/** How many agents this machine has memory for, and a node room. */
function roomFor(pods: number): number {
  const availableMb = Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))![1]) / 1_024;
  return Math.max(1, Math.min(pods, Math.floor(Math.min(PODS_LIMIT, (availableMb - SPARE_MB) / POD_MB) / (1 + SURGE))));
}

/** How often a controller was refused a pod, by whatever. */
async function failedCreations({ client }: Installed): Promise<number> {
  const { items } = await client.list<{ reason?: string; count?: number; series?: { count: number } }>(
    `/api/v1/namespaces/${NAMESPACE}/events`,
  );
  return items
    .filter(({ reason }) => reason === 'FailedCreate')
    .reduce((sum, { count, series }) => sum + (series?.count ?? count ?? 1), 0);
}
