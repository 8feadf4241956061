import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { KubeError } from '../../lib/kube/client.ts';
import { AGENTS_NAMESPACE, Installation } from './installed.ts';
import { CHART, RELEASE_NAMESPACE } from './render.ts';

const START_LIMIT_MS = 20 * 60_000;
const LABELLED = { app: 'a', 'sidekey.dev/inject': 'true' };
const PLAIN = { app: 'a' };

const template = (labels: object) => ({ metadata: { labels }, spec: { containers: [{ name: 'a', image: 'a' }] } });
const selecting = (labels: object) => ({ selector: { matchLabels: PLAIN }, template: template(labels) });
const ending = (labels: object) => {
  const { spec, metadata } = template(labels);
  return { template: { metadata, spec: { ...spec, restartPolicy: 'Never' } } };
};
const KINDS: Readonly<Record<string, (labels: object) => object>> = {
  'apis/apps/v1 deployments': selecting,
  'apis/apps/v1 replicasets': selecting,
  'apis/apps/v1 daemonsets': selecting,
  'apis/apps/v1 statefulsets': (labels) => ({ ...selecting(labels), serviceName: 'a' }),
  'apis/batch/v1 jobs': ending,
  'apis/batch/v1 cronjobs': (labels) => ({ schedule: '* * * * *', jobTemplate: { spec: ending(labels) } }),
  'api/v1 replicationcontrollers': (labels) => ({ selector: PLAIN, template: template(labels) }),
};

let installation: Installation;

beforeAll(async () => {
  installation = await Installation.prepare();
  // What the webhook cannot be: there is nothing that runs.
  await installation.helm(
    'install',
    'sidekey',
    CHART,
    '--set',
    'webhook.timeoutSeconds=1,webhook.excludedNamespaces={left-out}',
  );
  const client = installation.plane.client();
  await client.create('/api/v1/namespaces', { metadata: { name: 'left-out' } });
  await client.create('/api/v1/namespaces/left-out/serviceaccounts', { metadata: { name: 'default' } });
  // The API server hears of webhooks by a watch.
  await vi.waitFor(
    async () => expect(await refusalOf('api/v1 pods', AGENTS_NAMESPACE, LABELLED)).toContain('calling webhook'),
    10_000,
  );
}, START_LIMIT_MS);
afterAll(() => installation?.plane.stop());

describe('while the webhook is away', () => {
  test.each(Object.keys(KINDS))('labelled templates of %s wait, and others are not touched', async (kind) => {
    expect(await refusalOf(kind, AGENTS_NAMESPACE, LABELLED)).toContain(
      'failed calling webhook "workloads.sidekey.dev"',
    );
    expect(await refusalOf(kind, AGENTS_NAMESPACE, PLAIN)).toBeUndefined();
  });

  test('labelled pods wait, and others are not touched', async () => {
    expect(await refusalOf('api/v1 pods', AGENTS_NAMESPACE, LABELLED)).toContain(
      'failed calling webhook "pods.sidekey.dev"',
    );
    expect(await refusalOf('api/v1 pods', AGENTS_NAMESPACE, PLAIN)).toContain('violates PodSecurity');
  });

  test('nothing waits in the namespaces that are left out, or the webhook could not start for want of itself', async () => {
    expect(await refusalOf('api/v1 pods', 'left-out', LABELLED)).toBeUndefined();
    expect(await refusalOf('apis/apps/v1 deployments', 'left-out', LABELLED)).toBeUndefined();
    expect(await refusalOf('apis/apps/v1 deployments', RELEASE_NAMESPACE, LABELLED)).toBeUndefined();
    expect(await refusalOf('apis/apps/v1 deployments', 'kube-system', LABELLED)).toBeUndefined();
  });

  test('an edit that adds the label waits, and one that takes it away does too', async () => {
    const client = installation.plane.client();
    const path = `/apis/apps/v1/namespaces/${AGENTS_NAMESPACE}/deployments`;
    await client.create(path, { metadata: { name: 'plain' }, spec: selecting(PLAIN) });
    const labels = (inject: string | null) => ({
      spec: { template: { metadata: { labels: { 'sidekey.dev/inject': inject } } } },
    });
    await expect(client.patch(`${path}/plain`, labels('true'), 'merge')).rejects.toThrow();
    // One that was labelled, from before.
    await client.create('/apis/apps/v1/namespaces/left-out/deployments', {
      metadata: { name: 'labelled' },
      spec: selecting(LABELLED),
    });
    await installation.helm('upgrade', 'sidekey', CHART, '--set', 'webhook.timeoutSeconds=1');
    const edit = () =>
      client.patch('/apis/apps/v1/namespaces/left-out/deployments/labelled', labels(null), 'merge', { dryRun: 'All' });
    await expect
      .poll(() =>
        edit().then(
          () => 'taken',
          (error: KubeError) => error.serverMessage,
        ),
      )
      .toContain('failed calling webhook "workloads.sidekey.dev"');
  });
});

/** Why an object of that kind is not taken, if it is not. */
async function refusalOf(kind: string, namespace: string, labels: object): Promise<string | undefined> {
  const [group, plural] = kind.split(' ') as [string, string];
  const body =
    plural === 'pods'
      ? { ...template(labels), metadata: { name: 'a', labels } }
      : { metadata: { name: 'a' }, spec: KINDS[kind]!(labels) };
  try {
    await installation.plane.client().create(`/${group}/namespaces/${namespace}/${plural}`, body, { dryRun: 'All' });
    return undefined;
  } catch (error) {
    if (error instanceof KubeError) return error.serverMessage ?? error.message;
    throw error;
  }
}
