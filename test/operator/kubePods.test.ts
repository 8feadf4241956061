import { afterAll, beforeAll, expect, test } from 'vitest';
import { KubeWorld, type OperatorReplica } from './kubeWorld.ts';
import { eventually } from './operatorProcess.ts';

let world: KubeWorld;
let operator: OperatorReplica;
beforeAll(async () => {
  world = await KubeWorld.start();
  operator = await world.operator();
  await world.namespace('pods');
  await world.client
    .create('/api/v1/namespaces/pods/serviceaccounts', { metadata: { name: 'default' } })
    .catch(() => {});
  await eventually('it leads', () => operator.log.includes('all objects are known'));
}, 120_000);
afterAll(() => world?.stop());

const path = (name: string) => `/api/v1/namespaces/pods/pods/${name}`;
const sessionOf = async (uid: string) => (await world.sessions()).find(({ pod }) => pod?.uid === uid);

async function podWithSession(name: string): Promise<string> {
  const uid = await world.pod('pods', name, { 'tag.sidekey.dev/llm': '' });
  await world.session('pods', { name, uid }, ['llm']);
  expect(await sessionOf(uid)).toMatchObject({ tags: ['llm'] });
  return uid;
}

test('label changes of a running pod are those of its session, at once', async () => {
  const uid = await podWithSession('labels');
  await world.client.patch(
    path('labels'),
    { metadata: { labels: { 'tag.sidekey.dev/llm': null, 'tag.sidekey.dev/pay': '', 'sidekey.dev/role': 'coder' } } },
    'merge',
  );
  const startedMs = performance.now();
  await eventually('the tags', async () => (await sessionOf(uid))?.tags.join() === 'pay');
  expect(performance.now() - startedMs).toBeLessThan(1_000);
  expect(await sessionOf(uid)).toMatchObject({ role: 'coder' });
});

test('a session ends with its pod: deleted, run to its end, or evicted', async () => {
  const deleted = await podWithSession('deleted');
  const succeeded = await podWithSession('succeeded');
  const failed = await podWithSession('failed');
  const alive = await podWithSession('alive');
  await world.client.delete(path('deleted'), { gracePeriodSeconds: 0 });
  await world.client.patch(`${path('succeeded')}/status`, { status: { phase: 'Succeeded' } }, 'merge');
  await world.client.patch(`${path('failed')}/status`, { status: { phase: 'Failed', reason: 'Evicted' } }, 'merge');
  for (const uid of [deleted, succeeded, failed]) await eventually('it ends', async () => !(await sessionOf(uid)));
  expect(await sessionOf(alive)).toBeDefined();
});

test('a pod that is being deleted keeps its session until it is gone', async () => {
  const uid = await podWithSession('leaving');
  // As while its containers end: there is no kubelet here that would finish it.
  await world.client.patch(path('leaving'), { metadata: { finalizers: ['example.com/wait'] } }, 'merge');
  await world.client.delete(path('leaving'), { gracePeriodSeconds: 0 });
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(await sessionOf(uid)).toBeDefined();
  await world.client.patch(path('leaving'), { metadata: { finalizers: null } }, 'merge');
  await eventually('it ends', async () => !(await sessionOf(uid)));
});

test('what happened to pods while there was no operator is made up for by the next one', async () => {
  const gone = await podWithSession('gone');
  const changed = await podWithSession('relabelled');
  await operator.stop();
  await world.client.delete(path('gone'), { gracePeriodSeconds: 0 });
  await world.client.patch(path('relabelled'), { metadata: { labels: { 'tag.sidekey.dev/more': '' } } }, 'merge');
  operator = await world.operator();
  await eventually('the session is gone', async () => !(await sessionOf(gone)));
  await eventually('the tags', async () => (await sessionOf(changed))?.tags.join() === 'llm,more');
});
