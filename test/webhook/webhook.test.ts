import { setTimeout as delay } from 'node:timers/promises';
import type { V1CronJob, V1Deployment, V1Pod } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { KubeError } from '../../lib/kube/client.ts';
import { pathOf, START_LIMIT_MS } from '../crds/withCrds.ts';
import { agentPod, IMAGE, NAMESPACE, RunningWebhook, until } from './withWebhook.ts';

const PODS = `/api/v1/namespaces/${NAMESPACE}/pods`;
const DEPLOYMENTS = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments`;
const JANE = { name: 'jane@example.com' };
const BOB = { name: 'bob' };
const REPLICA_SETS = {
  name: 'system:serviceaccount:kube-system:replicaset-controller',
  groups: ['system:masters', 'system:serviceaccounts', 'system:serviceaccounts:kube-system'],
};

const ADMISSION_BUCKET =
  /^apiserver_admission_webhook_admission_duration_seconds_bucket\{name="pods\.sidekey\.dev",operation="CREATE",rejected="false",type="admit",le="([^"+]+)"\} (\d+)$/gm;

let webhook: RunningWebhook;
beforeAll(async () => {
  webhook = await RunningWebhook.start();
}, START_LIMIT_MS);
afterAll(() => webhook?.stop());

const refusal = async (attempt: Promise<unknown>): Promise<string> => {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof KubeError) return error.serverMessage;
    throw error;
  }
  return 'allowed';
};
const requesterOf = ({ metadata }: { metadata?: { annotations?: Record<string, string> } }) =>
  metadata?.annotations?.['sidekey.dev/requested-by'];
const deployment = (name: string, annotations?: Record<string, string>, inject = 'true') => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name },
  spec: {
    selector: { matchLabels: { app: name } },
    template: {
      metadata: {
        labels: { app: name, 'sidekey.dev/inject': inject, 'tag.sidekey.dev/llm': '' },
        ...(annotations && { annotations }),
      },
      spec: { containers: [{ name: 'agent', image: 'agent' }] },
    },
  },
});

test('before there is a certificate the webhook is alive, not ready, and labelled pods wait', async () => {
  expect(await webhook.probe('/healthz')).toBe(200);
  expect(await webhook.probe('/readyz')).toBe(503);
  expect(await refusal(webhook.admin.create(PODS, agentPod('early')))).toContain(
    'failed calling webhook "pods.sidekey.dev"',
  );
});

test('a first CA is registered once the webhook serves a certificate under it', async () => {
  // Issued long ago: due for renewal when somebody looks at it by the right clock.
  await webhook.lookAfterTls({}, 21);
  const { webhooks } = await webhook.admin.get<{ webhooks: { clientConfig: { caBundle: string } }[] }>(
    webhook.configurationPath,
  );
  const bundles = webhooks.map(({ clientConfig }) => Buffer.from(clientConfig.caBundle, 'base64').toString());
  expect(new Set(bundles).size).toBe(1);
  expect(bundles[0]!.match(/BEGIN/g)).toHaveLength(1);
});

test('a labelled pod gets its sidecar, with the trust bundle of the store, and says who asked for it', async () => {
  const pod = await webhook.plane.client(JANE).create<V1Pod>(PODS, agentPod('one'));
  const [sidecar] = pod.spec!.initContainers!;
  expect(sidecar).toMatchObject({ name: 'sidekey', image: IMAGE, restartPolicy: 'Always', args: ['--in-pod'] });
  expect(sidecar!.env).toContainEqual({
    name: 'SIDEKEY_TRUST_BUNDLE',
    value: expect.stringContaining('-----BEGIN CERTIFICATE-----'),
  });
  expect(requesterOf(pod)).toBe('jane@example.com');
  expect(pod.metadata!.annotations!['sidekey.dev/status']).toBe('injected');
});

test('references are resolved from objects of the namespace, and what is missing is a warning that kubectl shows', async () => {
  const env = [
    { name: 'KEY', value: '${credentials.openai_key}' },
    { name: 'OPENAI_BASE_URL', value: '${integrations.openai.url}/v1' },
  ];
  const input = JSON.stringify(agentPod('references', { env }));
  const before = await webhook.plane.kubectl(['create', '-n', NAMESPACE, '-f', '-'], { input, user: JANE });
  expect(before).toMatchObject({ code: 0 });
  expect(before.stderr).toContain('Warning: sidekey: no Integration in this namespace matches tag llm yet');
  expect(before.stderr).toContain('there is no Credential openai-key here yet');
  await webhook.admin.create(pathOf('Credential', NAMESPACE), {
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Credential',
    metadata: { name: 'openai-key' },
    spec: { source: { secret: { name: 'openai', key: 'value' } }, hosts: ['api.openai.com'] },
  });
  await webhook.admin.create(pathOf('Integration', NAMESPACE), {
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Integration',
    metadata: { name: 'openai' },
    spec: {
      credentialRef: { name: 'openai-key' },
      hosts: ['api.openai.com'],
      alias: 'openai',
      inject: [{ bearer: {} }],
      subjects: { tags: ['llm'] },
    },
  });
  const created = async () => {
    const pod = await webhook.admin.create<V1Pod>(`${PODS}?dryRun=All`, agentPod('again', { env }));
    return Object.fromEntries(pod.spec!.containers[0]!.env!.map(({ name, value }) => [name, value]));
  };
  await until(async () => (await created()).OPENAI_BASE_URL === 'http://127.0.0.1:15080/openai/v1');
  expect((await created()).KEY).toMatch(/^sk-sidekeyPlaceholder[0-9a-f]{32}$/);
});

test('of a Deployment the template says who created it, and no edit changes that', async () => {
  const [jane, bob] = [webhook.plane.client(JANE), webhook.plane.client(BOB)];
  const forged = { 'sidekey.dev/requested-by': 'boss' };
  const created = await jane.create<V1Deployment>(DEPLOYMENTS, deployment('coder', forged));
  expect(requesterOf(created.spec!.template)).toBe('jane@example.com');
  const path = `${DEPLOYMENTS}/coder`;
  const patched = (annotations: object) =>
    bob.patch<V1Deployment>(path, { spec: { template: { metadata: { annotations } } } }, 'merge');
  expect(requesterOf((await patched(forged)).spec!.template)).toBe('jane@example.com');
  expect(requesterOf((await patched({ 'sidekey.dev/requested-by': null })).spec!.template)).toBe('jane@example.com');
  const pod = agentPod('of-a-set', { annotations: { 'sidekey.dev/requested-by': 'jane@example.com' } });
  expect(requesterOf(await webhook.plane.client(REPLICA_SETS).create<V1Pod>(PODS, pod))).toBe('jane@example.com');
});

test('whoever makes a workload an agent is who asked for it', async () => {
  await webhook.plane.client(JANE).create(DEPLOYMENTS, deployment('later', undefined, 'false'));
  const labels = { spec: { template: { metadata: { labels: { 'sidekey.dev/inject': 'true' } } } } };
  const patched = await webhook.plane.client(BOB).patch<V1Deployment>(`${DEPLOYMENTS}/later`, labels, 'merge');
  expect(requesterOf(patched.spec!.template)).toBe('bob');
});

test('an edit that takes the label away leaves who asked for it', async () => {
  const path = `${DEPLOYMENTS}/unlabelled`;
  await webhook.plane.client(JANE).create(DEPLOYMENTS, deployment('unlabelled'));
  const replaced = await webhook.plane.client(BOB).replace<V1Deployment>(path, deployment('unlabelled', {}, 'false'));
  expect(requesterOf(replaced.spec!.template)).toBe('jane@example.com');
});

test('a CronJob says so two templates deep', async () => {
  const { template } = deployment('nightly').spec;
  const job = { spec: { template: { ...template, spec: { ...template.spec, restartPolicy: 'Never' } } } };
  const created = await webhook.plane.client(BOB).create<V1CronJob>(`/apis/batch/v1/namespaces/${NAMESPACE}/cronjobs`, {
    metadata: { name: 'nightly' },
    spec: { schedule: '@daily', jobTemplate: job },
  });
  expect(requesterOf(created.spec!.jobTemplate.spec!.template)).toBe('bob');
});

test('of a workload whose pods would be refused its author is warned, and the pods are refused with the reason', async () => {
  const annotations = { 'sidekey.dev/capture': 'all' };
  const input = JSON.stringify(deployment('wrong', annotations));
  const said = await webhook.plane.kubectl(['create', '-n', NAMESPACE, '-f', '-'], { input, user: JANE });
  expect(said.stderr).toContain('Warning: sidekey: its pods will be refused: CaptureInvalid');
  expect(await refusal(webhook.admin.create(PODS, agentPod('wrong', { annotations })))).toBe(
    'admission webhook "pods.sidekey.dev" denied the request: sidekey: CaptureInvalid: the annotation sidekey.dev/capture is "all"; expected proxy, baseURL or transparent',
  );
});

test('the sidecar gets what a LimitRange gives to every container, and the namespace takes the pod', async () => {
  const limit = { type: 'Container', default: { cpu: '500m' }, defaultRequest: { cpu: '50m' }, max: { cpu: '1' } };
  const path = `/api/v1/namespaces/${NAMESPACE}/limitranges`;
  await webhook.admin.create(path, { metadata: { name: 'bounds' }, spec: { limits: [limit] } });
  try {
    // Until the plug-in that applies them has seen it.
    await until(async () => {
      const { initContainers, containers } = (
        await webhook.admin.create<V1Pod>(`${PODS}?dryRun=All`, agentPod('bounded'))
      ).spec!;
      if (containers[0]!.resources?.limits?.cpu === undefined) return false;
      expect(initContainers![0]!.resources?.limits).toEqual({ cpu: '500m', memory: expect.any(String) });
      return true;
    });
  } finally {
    await webhook.admin.delete(`${path}/bounds`);
  }
});

test.for([
  '{',
  '{}',
  '[null]',
  '{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"x"}}',
])('what is no review is refused: %s', async (body) => {
  expect((await webhook.post(body)).status).toBe(400);
});

test('a body that no API server sends is not read to its end', async () => {
  const answer = webhook.post(`"${'x'.repeat(9 * 1024 * 1024)}"`);
  // The rest of it may meet a connection that is closed already.
  expect(
    await answer.then(
      ({ status }) => status,
      (error: { code: string }) => error.code,
    ),
  ).toBeOneOf([413, 'EPIPE', 'ECONNRESET', 'UND_ERR_SOCKET']);
});

test('the largest pods are answered', async () => {
  const env = Array.from({ length: 10 }, (_, i) => ({ name: `V${i}`, value: 'x'.repeat(100_000) }));
  const pod = await webhook.admin.create<V1Pod>(`${PODS}?dryRun=All`, agentPod('large', { env }));
  expect(pod.spec!.initContainers![0]!.name).toBe('sidekey');
});

test('while the CA is replaced no pod is refused, at 20 a second', async () => {
  const certificate = async () =>
    (await webhook.admin.get<{ data: Record<string, string> }>(webhook.secretPath)).data['tls.crt'];
  const old = await certificate();
  const tookMs: number[] = [];
  const refused: string[] = [];
  const create = async (i: number) => {
    const startedMs = performance.now();
    const said = await refusal(webhook.admin.create(PODS, agentPod(`rotation-${i}`)));
    tookMs.push(performance.now() - startedMs);
    if (said !== 'allowed') refused.push(said);
  };
  const rotation = webhook.lookAfterTls();
  const attempts: Promise<void>[] = [];
  for (let i = 0; i < 200; i += 1) {
    attempts.push(create(i));
    await delay(50);
  }
  await Promise.all([rotation, ...attempts]);
  expect(refused).toEqual([]);
  expect(await certificate()).not.toBe(old);
  const { webhooks } = await webhook.admin.get<{ webhooks: { clientConfig: { caBundle: string } }[] }>(
    webhook.configurationPath,
  );
  for (const { clientConfig } of webhooks)
    expect(Buffer.from(clientConfig.caBundle, 'base64').toString().match(/BEGIN/g)).toHaveLength(1);
  tookMs.sort((a, b) => a - b);
  const served = (await webhook.plane.kubectl(['get', '--raw', '/metrics'])).stdout;
  const admissionMs = quantileMs(served, ADMISSION_BUCKET, 0.99);
  const reviewMs = quantileMs(
    await webhook.metrics(),
    /^sidekey_webhook_review_seconds_bucket\{le="([^"+]+)"\} (\d+)$/gm,
    0.99,
  );
  console.log(
    `pods at 20/s: created p50 ${tookMs[100]!.toFixed(1)} ms, p99 ${tookMs[198]!.toFixed(1)} ms; admission p99 ${admissionMs.toFixed(1)} ms as the API server counts it, of which the webhook ${reviewMs.toFixed(1)} ms`,
  );
  expect(tookMs[198]).toBeLessThan(500);
}, 60_000);

test('a Secret that is deleted comes back, and pods are admitted all the time', async () => {
  await webhook.admin.delete(webhook.secretPath);
  const refused: string[] = [];
  for (let i = 0; i < 100; i += 1) {
    const said = await refusal(webhook.admin.create(PODS, agentPod(`lost-${i}`)));
    if (said !== 'allowed') refused.push(said);
    await delay(50);
  }
  expect(refused).toEqual([]);
  const { data } = await webhook.admin.get<{ data: Record<string, string> }>(webhook.secretPath);
  expect(Object.keys(data).sort()).toEqual(['ca.crt', 'tls.crt', 'tls.key']);
}, 30_000);

test('while the webhook is down labelled pods are refused and nothing else is; then they are admitted again', async () => {
  await webhook.kill('SIGKILL');
  // On a connection of before it may be the pipe that is broken, once.
  await expect
    .poll(() => refusal(webhook.admin.create(PODS, agentPod('down'))))
    .toMatch(/failed calling webhook "pods\.sidekey\.dev": .*connection refused/);
  expect(await refusal(webhook.admin.create(DEPLOYMENTS, deployment('down')))).toContain('workloads.sidekey.dev');
  expect(await refusal(webhook.admin.create(DEPLOYMENTS, deployment('other', undefined, 'false')))).toBe('allowed');
  const unlabelled = agentPod('other', { labels: { 'sidekey.dev/inject': 'false' } });
  expect(await refusal(webhook.admin.create(PODS, unlabelled))).toBe('allowed');
  await webhook.run();
  await webhook.working();
  expect(await refusal(webhook.admin.create(PODS, agentPod('down')))).toBe('allowed');
}, 60_000);

test('asked to end it says not ready, finishes, and ends well', async () => {
  const ended = webhook.kill('SIGTERM');
  await until(async () => (await webhook.probe('/readyz')) === 503);
  expect(await refusal(webhook.admin.create(PODS, agentPod('last')))).toBe('allowed');
  expect(await ended).toBe(0);
}, 30_000);

/** Of a histogram of seconds: as Prometheus guesses it, evenly spread within a bucket. */
function quantileMs(metrics: string, bucket: RegExp, quantile: number): number {
  const buckets = [...metrics.matchAll(bucket)].map(([, le, count]) => ({ le: Number(le), count: Number(count) }));
  const wanted = quantile * (buckets.at(-1)?.count ?? 0);
  const index = buckets.findIndex(({ count }) => count >= wanted);
  const { count: below, le: from } = buckets[index - 1] ?? { count: 0, le: 0 };
  const { count, le: to } = buckets[index] ?? { count: Number.NaN, le: Number.NaN };
  return 1000 * (from + ((to - from) * (wanted - below)) / (count - below));
}
