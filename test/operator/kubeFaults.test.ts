import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StoreProcess } from '../store/storeProcess.ts';
import { KubeWorld, type OperatorReplica, SYSTEM } from './kubeWorld.ts';
import { eventually } from './operatorProcess.ts';

let world: KubeWorld;
let first: OperatorReplica;
let second: OperatorReplica;
beforeAll(async () => {
  world = await KubeWorld.start({ controllers: true });
  first = await world.operator('first');
  await within(20, 'the first leads', () => leads(first));
  second = await world.operator('second');
  await world.namespace('team');
  await world.secret('team', 'keys', 'sk-1');
  await world.credential('team', 'key');
  await ready('key', 'True');
}, 120_000);
afterAll(() => world?.stop());

const leads = (operator: OperatorReplica) => operator.log.includes('all objects are known');
const version = async () => (await world.stored()).get('team/key')?.version;
const ready = (name: string, status: string) =>
  within(
    20,
    `${name} is Ready ${status}`,
    async () => (await world.ready('Credential', 'team', name))?.status === status,
  );

async function within(seconds: number, what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = performance.now() + seconds * 1_000;
  while (!(await check())) {
    if (performance.now() > endMs) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function restartStore(stateDir = world.store.stateDir): Promise<void> {
  const port = Number(new URL(world.store.storeUrl).port);
  world.store = await StoreProcess.start(stateDir, { port });
}

test('a standby is ready, leads no more than it should, and does nothing', async () => {
  await within(10, 'it stands by', () => second.log.includes('stands by'));
  expect(await second.metrics('/readyz')).toMatchObject({ status: 200, text: '{"ready":true,"leader":false}\n' });
  expect((await second.metrics()).text).toMatch(/^sidekey_operator_leader 0$/m);
  expect(leads(second)).toBe(false);
});

test('while the store is away statuses say so, and once it is back everything is made up for', async () => {
  await world.store.kill();
  await world.credential('team', 'late');
  await within(
    20,
    'StoreUnavailable',
    async () => (await world.ready('Credential', 'team', 'late'))?.reason === 'StoreUnavailable',
  );
  // What is in the store already stays as good as it was.
  expect(await world.ready('Credential', 'team', 'key')).toMatchObject({ status: 'True' });
  await restartStore();
  await ready('late', 'True');
}, 60_000);

test('a leader that is stopped loses the lead, and ends when it wakes, without undoing what the next one did', async () => {
  const before = (await version())!;
  // In the middle of an act: a hundred Secrets change while it is stopped.
  await Promise.all(Array.from({ length: 50 }, (_, i) => world.credential('team', `many-${i}`)));
  first.child.kill('SIGSTOP');
  await world.secret('team', 'keys', 'sk-of-the-next');
  await within(40, 'the second leads', () => leads(second));
  await within(20, 'the new version', async () => (await version())! > before);
  await ready('many-49', 'True');
  await world.remove('Credential', 'team', 'many-49');
  await within(20, 'it is gone', async () => !(await world.stored()).has('team/many-49'));
  const settled = await version();
  first.child.kill('SIGCONT');
  await within(20, 'the first ends', () => first.child.exitCode !== null);
  expect(first.child.exitCode).toBe(1);
  expect(first.log).toContain('leads no more');
  expect(await version()).toBe(settled);
  expect((await world.stored()).has('team/many-49')).toBe(false);
}, 90_000);

test('one that is asked to end gives the lead up, and the next takes it within seconds', async () => {
  const third = await world.operator('third');
  await within(10, 'it stands by', () => third.log.includes('stands by'));
  expect(await second.stop()).toBe(0);
  await within(6, 'the third leads', () => leads(third));
  await world.secret('team', 'keys', 'sk-3');
  const before = (await version())!;
  await within(20, 'it acts', async () => (await version())! >= before);
  second = third;
}, 60_000);

test('a store that knows nobody any more, under another root, is joined anew by what the ConfigMap then says', async () => {
  await world.store.kill();
  await restartStore(join(world.dir, 'another-store'));
  writeFileSync(second.joinTokenFile, await world.joinToken({ kind: 'operator' }));
  await world.client.patch(
    `/api/v1/namespaces/${SYSTEM}/configmaps/sidekey-trust`,
    { data: { 'ca.pem': world.store.trustBundlePem } },
    'merge',
  );
  await within(30, 'everything is in the new store', async () => (await world.stored()).get('team/key')?.version === 1);
}, 60_000);

test('a namespace that is deleted goes, and so does what the store held of it', async () => {
  await world.namespace('doomed');
  await world.secret('doomed', 'keys', 'sk-1');
  await world.credential('doomed', 'key');
  await eventually('the finalizer', async () =>
    (
      await world.client.get<{ metadata: { finalizers?: string[] } }>(
        '/apis/sidekey.dev/v1alpha1/namespaces/doomed/credentials/key',
      )
    ).metadata.finalizers?.includes('sidekey.dev/store'),
  );
  await world.client.delete('/api/v1/namespaces/doomed');
  await within(40, 'the namespace is gone', () =>
    world.client.get('/api/v1/namespaces/doomed').then(
      () => false,
      () => true,
    ),
  );
  expect((await world.stored()).has('doomed/key')).toBe(false);
}, 60_000);
