import { afterAll, beforeAll, expect, test } from 'vitest';
import { KubeWorld, type OperatorReplica, SYSTEM } from './kubeWorld.ts';
import { eventually, within } from './operatorProcess.ts';

let world: KubeWorld;
let operator: OperatorReplica;
beforeAll(async () => {
  world = await KubeWorld.start();
  operator = await world.operator();
}, 120_000);
afterAll(() => world?.stop());

const ready = (kind: 'Credential' | 'Integration', namespace: string, name: string, reason = 'Ready') =>
  eventually(`${kind} ${namespace}/${name} says ${reason}`, async () => {
    const condition = await world.ready(kind, namespace, name);
    return condition?.reason === reason ? condition : undefined;
  });
const version = (key: string, wanted: number) =>
  eventually(`version ${wanted} of ${key}`, async () => ((await world.stored()).get(key)?.version ?? -1) === wanted);
const gone = (key: string) => eventually(`${key} is gone`, async () => !(await world.stored()).has(key));

async function workingNamespace(name: string): Promise<void> {
  await world.namespace(name);
  await world.secret(name, 'keys', 'sk-1');
  await world.credential(name, 'key');
  await world.integration(name, 'example');
  await ready('Credential', name, 'key');
  await ready('Integration', name, 'example');
}

test('objects come to the store, and their statuses back', async () => {
  await workingNamespace('first');
  expect(await world.status('Credential', 'first', 'key')).toMatchObject({
    observedGeneration: 1,
    source: 'secret',
    version: 1,
    placeholder: expect.stringMatching(/sidekeyPlaceholder/),
  });
});

test('a changed Secret is a new version within a second; statuses that stay are not written again', async () => {
  await workingNamespace('changed');
  const transition = (await world.ready('Credential', 'changed', 'key'))!.lastTransitionTime;
  const startedMs = performance.now();
  await world.secret('changed', 'keys', 'sk-2');
  await version('changed/key', 2);
  expect(performance.now() - startedMs).toBeLessThan(1_000);
  await eventually('the status tells', async () => (await world.status('Credential', 'changed', 'key'))?.version === 2);
  expect((await world.ready('Credential', 'changed', 'key'))!.lastTransitionTime).toBe(transition);
  const resourceVersion = async () =>
    (
      await world.client.get<{ metadata: { resourceVersion: string } }>(
        '/apis/sidekey.dev/v1alpha1/namespaces/changed/credentials/key',
      )
    ).metadata.resourceVersion;
  const before = await resourceVersion();
  // Another key of the Secret is none of ours.
  await world.client.patch('/api/v1/namespaces/changed/secrets/keys', { metadata: { labels: { a: 'b' } } }, 'merge');
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(await resourceVersion()).toBe(before);
  expect((await world.stored()).get('changed/key')?.version).toBe(2);
});

test('a Secret that is deleted takes its material along, and one that is made anew brings it back', async () => {
  await workingNamespace('recreated');
  await world.client.delete('/api/v1/namespaces/recreated/secrets/keys');
  await ready('Credential', 'recreated', 'key', 'SecretDoesNotExist');
  expect((await world.stored()).get('recreated/key')?.fields).toEqual([]);
  await world.secret('recreated', 'keys', 'sk-1');
  await ready('Credential', 'recreated', 'key');
  expect((await world.stored()).get('recreated/key')?.fields).toEqual(['value']);
});

test('a Credential that names another Secret gets that one, though it was there long before and was never kept', async () => {
  await workingNamespace('renamed');
  await world.secret('renamed', 'other', 'sk-other');
  await world.credential('renamed', 'key', { secret: { name: 'other', key: 'key' } });
  await version('renamed/key', 2);
  await ready('Credential', 'renamed', 'key');
});

test('where Secrets are forbidden the condition and an Event say the command, and that command mends it', async () => {
  await world.namespace('forbidden', { secrets: false });
  await world.secret('forbidden', 'keys', 'sk-1');
  await world.credential('forbidden', 'key');
  const { message } = await ready('Credential', 'forbidden', 'key', 'SecretForbidden');
  const command = /kubectl (create rolebinding .*)$/.exec(message)![1]!;
  expect(command).toBe(
    `create rolebinding sidekey -n forbidden --clusterrole=sidekey-secret-reader --serviceaccount=${SYSTEM}:sidekey-operator`,
  );
  const event = await eventually('an Event', async () => {
    const { items } = await world.client.list<{ reason: string; note: string; regarding: { name: string } }>(
      '/apis/events.k8s.io/v1/namespaces/forbidden/events',
    );
    return items.find(({ reason }) => reason === 'SecretForbidden');
  });
  expect(event).toMatchObject({ note: message, regarding: { kind: 'Credential', name: 'key' }, type: 'Warning' });
  expect(await world.plane.kubectl(command.split(' '))).toMatchObject({ code: 0 });
  await eventually('it is Ready', async () => (await world.ready('Credential', 'forbidden', 'key'))?.status === 'True');
}, 60_000);

test('what is deleted goes from the store, and the Credential only after', async () => {
  await workingNamespace('deleted');
  const path = '/apis/sidekey.dev/v1alpha1/namespaces/deleted/credentials/key';
  await eventually('the finalizer', async () =>
    (await world.client.get<{ metadata: { finalizers?: string[] } }>(path)).metadata.finalizers?.includes(
      'sidekey.dev/store',
    ),
  );
  await world.remove('Integration', 'deleted', 'example');
  await world.remove('Credential', 'deleted', 'key');
  await gone('deleted/key');
  await eventually('the object is gone', () =>
    world.client.get(path).then(
      () => false,
      () => true,
    ),
  );
});

test('an object that is stored but not valid keeps what was last good in force, and says so', async () => {
  await workingNamespace('invalid');
  // As an older version of the CRD may have let it through.
  const crd = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/integrations.sidekey.dev';
  const before = await world.client.get<{ spec: { versions: { schema: { openAPIV3Schema: object } }[] } }>(crd);
  const loose = structuredClone(before);
  loose.spec.versions[0]!.schema.openAPIV3Schema = {
    type: 'object',
    properties: {
      spec: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      status: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    },
  };
  await world.client.replace(crd, loose);
  const path = '/apis/sidekey.dev/v1alpha1/namespaces/invalid/integrations/example';
  await eventually('the loose schema is in force', async () => {
    await world.client.patch(path, { spec: { subjects: { tags: [] }, oldField: 1 } }, 'merge').catch(() => {});
    return (await world.client.get<{ spec: { oldField?: number } }>(path)).spec.oldField === 1;
  });
  const { message } = await ready('Integration', 'invalid', 'example', 'Invalid');
  expect(message).toMatch(/spec.subjects.tags: expected at least 1.*stays in force/s);
  expect((await world.status('Integration', 'invalid', 'example'))!.conditions).toContainEqual(
    expect.objectContaining({ type: 'Programmed', status: 'True' }),
  );
  await world.remove('Integration', 'invalid', 'example');
  const after = await world.client.get<typeof before>(crd);
  await world.client.replace(crd, { ...after, spec: before.spec });
});

test('an API server that restarts loses nothing: what changes then is heard after', async () => {
  await workingNamespace('restarted');
  await world.plane.restart(500);
  await world.secret('restarted', 'keys', 'sk-2');
  await version('restarted/key', 2).catch(async (error) => {
    // On a slow machine the API server is away for longer than a Lease lives: a leader ends then, and a kubelet starts it again.
    if (operator.child.exitCode === null || !operator.log.includes('was not renewed in time')) throw error;
    operator = await world.operator();
    // The Lease is still that of the one that has ended.
    await within(30, 'another operator leads', async () => /"this process leads"/.test(operator.log));
    await version('restarted/key', 2);
  });
  await ready('Credential', 'restarted', 'key');
}, 120_000);

test('probes answer, and metrics tell of objects, queues and leadership', async () => {
  expect(await operator.metrics('/readyz')).toMatchObject({ status: 200, text: '{"ready":true,"leader":true}\n' });
  // What the test before has stirred up may be under way.
  const says = (line: RegExp) =>
    expect.poll(async () => (await operator.metrics()).text, { timeout: 10_000 }).toMatch(line);
  await says(/^sidekey_operator_leader 1$/m);
  await says(/^sidekey_operator_objects\{kind="Credential",ready="True"\} \d+$/m);
  await says(/^sidekey_operator_reflectors\{collection="secrets",state="synced"\} \d+$/m);
  await says(/^sidekey_operator_queue_depth\{queue="statuses"\} 0$/m);
});
