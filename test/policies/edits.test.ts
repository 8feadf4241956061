import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { KubeClient } from '../../lib/kube/client.ts';
import { START_LIMIT_MS } from '../crds/withCrds.ts';
import { agentPod, plainPod } from './agentPod.ts';
import { deniedBy } from './deniedBy.ts';
import { type Governed, IMAGE, NAMESPACE, outcome, STORE_URL, startWithPolicies } from './withPolicies.ts';

let cluster: Governed;
/** The agent itself: the ServiceAccount of its pods. */
let agent: KubeClient;
const DRY = { dryRun: 'All' };
const pods = `/api/v1/namespaces/${NAMESPACE}/pods`;
const deployments = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments`;

beforeAll(async () => {
  cluster = await startWithPolicies();
  const { status } = await cluster.admin.create<{ status: { token: string } }>(
    `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/agent/token`,
    { spec: {} },
  );
  agent = cluster.plane.client({ token: status.token });
  await cluster.admin.create(pods, agentPod('running', IMAGE, STORE_URL));
  const plain = plainPod('plain');
  plain.spec.serviceAccountName = 'agent';
  await cluster.admin.create(pods, plain);
}, START_LIMIT_MS);
afterAll(() => cluster?.plane.stop());

const label = (name: string, value: string | null) => ({ metadata: { labels: { [name]: value } } });
const annotate = (name: string, value: string | null) => ({ metadata: { annotations: { [name]: value } } });
const patchPod = (client: KubeClient, body: object, pod = 'running') =>
  outcome(client.patch(`${pods}/${pod}`, body, 'strategic', DRY));
const patchStatus = (client: KubeClient, body: object) =>
  outcome(client.patch(`${pods}/running/status`, body, 'merge', DRY));

describe('a running agent pod', () => {
  test('gets tags and a role by people, live', async () => {
    expect(await patchPod(cluster.alice, label('tag.sidekey.dev/crm', ''))).toBe('allowed');
    expect(await patchPod(cluster.alice, label('sidekey.dev/role', 'writer'))).toBe('allowed');
    expect(await patchPod(cluster.alice, label('team', 'a'))).toBe('allowed');
  });

  test.for([
    ['a tag', label('tag.sidekey.dev/crm', '')],
    ['a tag that it has, taken away', label('tag.sidekey.dev/llm', null)],
    ['a tag that it has, of another value', label('tag.sidekey.dev/llm', 'false')],
    ['a role', label('sidekey.dev/role', 'admin')],
  ] as const)('does not get %s by its own ServiceAccount, not through its status either', async ([, body]) => {
    const words = 'the ServiceAccount of a pod may not change its labels';
    expect(await patchPod(agent, body)).toMatch(deniedBy('pod-update', words));
    expect(await patchStatus(agent, body)).toMatch(deniedBy('pod-update', words));
  });

  test('may have other labels changed by its own ServiceAccount', async () => {
    expect(await patchPod(agent, label('phase', 'thinking'))).toBe('allowed');
  });

  test('keeps its label sidekey.dev/inject, whoever asks; a pod without a sidecar does not get it', async () => {
    const words = 'the label sidekey.dev/inject of a running pod cannot be changed';
    for (const value of [null, 'false']) {
      expect(await patchPod(cluster.alice, label('sidekey.dev/inject', value))).toMatch(deniedBy('pod-update', words));
      expect(await patchStatus(cluster.admin, label('sidekey.dev/inject', value))).toMatch(
        deniedBy('pod-update', words),
      );
    }
    expect(await patchPod(cluster.admin, label('sidekey.dev/inject', 'true'), 'plain')).toMatch(
      deniedBy('pod-update', words),
    );
  });

  test('keeps the image of the sidecar; that of the agent may change', async () => {
    const image = `sidekey.test/sidekey@sha256:${'b'.repeat(64)}`;
    for (const name of ['sidekey', 'sidekey-redirect'])
      expect(await patchPod(cluster.alice, { spec: { initContainers: [{ name, image }] } })).toMatch(
        deniedBy('pod-update', 'the image of the containers sidekey and sidekey-redirect cannot be changed'),
      );
    expect(await patchPod(cluster.alice, { spec: { containers: [{ name: 'agent', image: 'agent:2' }] } })).toBe(
      'allowed',
    );
  });

  test('keeps who asked for it', async () => {
    const words = 'the annotations sidekey.dev/requested-by and sidekey.dev/status are set when a pod is created';
    for (const body of [
      annotate('sidekey.dev/requested-by', 'bob'),
      annotate('sidekey.dev/requested-by', null),
      annotate('sidekey.dev/status', 'x'),
    ]) {
      expect(await patchPod(cluster.alice, body)).toMatch(deniedBy('pod-update', words));
      expect(await patchStatus(cluster.alice, body)).toMatch(deniedBy('pod-update', words));
    }
    expect(await patchPod(cluster.alice, annotate('note', 'x'))).toBe('allowed');
  });

  test('gets neither labels nor annotations of ours from whoever binds it to a node', async () => {
    const binding = (metadata: object) => ({
      metadata: { name: 'running', ...metadata },
      target: { kind: 'Node', name: 'n1' },
    });
    const bindings = [`${pods}/running/binding`, `/api/v1/namespaces/${NAMESPACE}/bindings`];
    for (const path of bindings) {
      for (const metadata of [
        { labels: { 'tag.sidekey.dev/crm': '' } },
        { labels: { 'sidekey.dev/role': 'admin' } },
        { annotations: { 'sidekey.dev/requested-by': 'bob' } },
      ])
        expect(await outcome(cluster.alice.create(path, binding(metadata), DRY))).toMatch(
          deniedBy('binding', 'a Binding must have no labels and annotations of sidekey.dev'),
        );
      expect(await outcome(cluster.alice.create(path, binding({ annotations: { note: 'x' } }), DRY))).toBe('allowed');
      expect(await outcome(cluster.alice.create(path, binding({}), DRY))).toBe('allowed');
    }
  });

  test('keeps its ServiceAccount: the API server itself refuses a switch', async () => {
    const said = await patchPod(cluster.alice, { spec: { serviceAccountName: 'default', serviceAccount: 'default' } });
    expect(said).toMatch(/pod updates may not change fields other than/);
  });

  test('can still be deleted, and have its finalizers changed, by whoever may', async () => {
    expect(await patchPod(cluster.admin, { metadata: { finalizers: ['batch.kubernetes.io/job-tracking'] } })).toBe(
      'allowed',
    );
    expect(await patchPod(cluster.admin, { metadata: { finalizers: null } })).toBe('allowed');
    await cluster.admin.create(pods, agentPod('short-lived', IMAGE, STORE_URL));
    expect(await outcome(cluster.alice.delete(`${pods}/short-lived`))).toBe('allowed');
  });

  test('of an earlier chart, with what is refused now, can still be labelled and finished', async () => {
    const pod = agentPod('of-earlier-chart', IMAGE, STORE_URL);
    pod.spec.initContainers = [];
    pod.spec.volumes = [];
    pod.spec.containers = [{ name: 'agent', image: 'agent:1' }];
    await cluster.admin.create(pods, pod);
    expect(await patchPod(cluster.alice, label('tag.sidekey.dev/crm', ''), 'of-earlier-chart')).toBe('allowed');
  });
});

describe('the template of a workload', () => {
  const BY = 'sidekey.dev/requested-by';
  beforeAll(async () => {
    await cluster.admin.create(deployments, deployment('kept', { [BY]: 'alice' }));
    await cluster.admin.create(deployments, deployment('unclaimed', {}));
    await cluster.admin.create(`/apis/batch/v1/namespaces/${NAMESPACE}/cronjobs`, cronJob('kept', { [BY]: 'alice' }));
  });
  const template = (body: object) => ({ spec: { template: body } });
  const patch = (client: KubeClient, name: string, body: object) =>
    outcome(client.patch(`${deployments}/${name}`, template(body), 'strategic', DRY));
  const WORDS =
    'the annotation sidekey.dev/requested-by says who created the workload and cannot be changed by a later edit';

  test('keeps who asked for it; everything else may be edited', async () => {
    for (const value of ['bob', null])
      expect(await patch(cluster.bob, 'kept', annotate(BY, value))).toMatch(deniedBy('workload-update', WORDS));
    expect(await patch(cluster.bob, 'kept', { spec: { containers: [{ name: 'agent', image: 'agent:2' }] } })).toBe(
      'allowed',
    );
    expect(await patch(cluster.bob, 'kept', label('tag.sidekey.dev/crm', ''))).toBe('allowed');
  });

  test('that names nobody can only be given the name of who edits it', async () => {
    expect(await patch(cluster.bob, 'unclaimed', annotate(BY, 'alice'))).toMatch(deniedBy('workload-update', WORDS));
    expect(await patch(cluster.bob, 'unclaimed', annotate(BY, 'bob'))).toBe('allowed');
  });

  test("that becomes an agent's names who makes it that, and nobody whom it has named before", async () => {
    const object = deployment('prepared', { [BY]: 'alice' });
    object.spec.template.metadata.labels = { app: 'a' };
    await cluster.admin.create(deployments, object);
    const inject = (by: string | null) => ({
      metadata: { labels: { 'sidekey.dev/inject': 'true' }, annotations: { [BY]: by } },
    });
    expect(await patch(cluster.bob, 'prepared', label('sidekey.dev/inject', 'true'))).toMatch(
      deniedBy('workload-update', WORDS),
    );
    expect(await patch(cluster.bob, 'prepared', inject('carol'))).toMatch(deniedBy('workload-update', WORDS));
    expect(await patch(cluster.bob, 'prepared', inject('bob'))).toBe('allowed');
    expect(await patch(cluster.bob, 'prepared', inject(null))).toBe('allowed');
  });

  test('keeps it in a CronJob, whose template is deeper', async () => {
    const path = `/apis/batch/v1/namespaces/${NAMESPACE}/cronjobs/kept`;
    const edit = (body: object) =>
      outcome(cluster.bob.patch(path, { spec: { jobTemplate: { spec: { template: body } } } }, 'strategic', DRY));
    expect(await edit(annotate(BY, 'bob'))).toMatch(deniedBy('workload-update', WORDS));
    expect(await edit(annotate('note', 'x'))).toBe('allowed');
  });

  test('gets neither tags nor another ServiceAccount by the ServiceAccount of its own pods', async () => {
    expect(await patch(agent, 'kept', label('tag.sidekey.dev/crm', ''))).toMatch(
      deniedBy(
        'workload-update',
        'the ServiceAccount of a workload may not change the labels tag.sidekey.dev/crm of its pods',
      ),
    );
    expect(await patch(agent, 'kept', { spec: { serviceAccountName: 'default' } })).toMatch(
      deniedBy('workload-update', "the ServiceAccount of an agent's workload may not give it another ServiceAccount"),
    );
    expect(await patch(cluster.alice, 'kept', { spec: { serviceAccountName: 'default' } })).toBe('allowed');
    expect(await patch(agent, 'kept', { spec: { containers: [{ name: 'agent', image: 'agent:2' }] } })).toBe('allowed');
  });

  test("without our label is nobody else's business", async () => {
    const object = deployment('foreign', { [BY]: 'x' });
    object.spec.template.metadata.labels = { app: 'a' };
    await cluster.admin.create(deployments, object);
    expect(await patch(cluster.bob, 'foreign', annotate(BY, 'y'))).toBe('allowed');
  });
});

function podTemplate(annotations: Record<string, string>) {
  return {
    metadata: { labels: { app: 'a', 'sidekey.dev/inject': 'true' } as Record<string, string>, annotations },
    spec: { serviceAccountName: 'agent', containers: [{ name: 'agent', image: 'agent:1' }] },
  };
}

function deployment(name: string, annotations: Record<string, string>) {
  return { metadata: { name }, spec: { selector: { matchLabels: { app: 'a' } }, template: podTemplate(annotations) } };
}

function cronJob(name: string, annotations: Record<string, string>) {
  const template = podTemplate(annotations);
  const spec = { template: { ...template, spec: { ...template.spec, restartPolicy: 'Never' } } };
  return { metadata: { name }, spec: { schedule: '0 0 * * *', jobTemplate: { spec } } };
}
