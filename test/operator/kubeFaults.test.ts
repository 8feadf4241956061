import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ObjectStatus } from '../../api/condition.ts';
import { StoreProcess } from '../store/storeProcess.ts';
import { KubeWorld, type OperatorReplica, SYSTEM } from './kubeWorld.ts';
import { within } from './operatorProcess.ts';

const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${SYSTEM}/leases/sidekey-operator`;

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
/** Its first token is good for a minute, and it joins once it leads. */
const renewToken = async ({ joinTokenFile }: OperatorReplica) =>
  writeFileSync(joinTokenFile, await world.joinToken({ kind: 'operator' }));
const ready = (name: string, status: string) =>
  within(
    20,
    `${name} is Ready ${status}`,
    async () => (await world.ready('Credential', 'team', name))?.status === status,
  );

let batches = 0;
/** Names of Credentials that are not there yet. */
function batch(): string[] {
  batches += 1;
  return Array.from({ length: 150 }, (_, i) => `many-${batches}-${i}`);
}

async function createAll(names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => world.credential('team', name)));
}

/** How far they are in the store: with material, told of but still without, not told of. */
async function progress(names: readonly string[]): Promise<Record<'whole' | 'bare' | 'absent', string[]>> {
  const stored = await world.stored();
  const fields = (name: string) => stored.get(`team/${name}`)?.fields.length;
  return {
    whole: names.filter((name) => (fields(name) ?? 0) > 0),
    bare: names.filter((name) => fields(name) === 0),
    absent: names.filter((name) => fields(name) === undefined),
  };
}

/** Stops it while it has a batch of new Credentials half told, some of them between record and material. */
async function stopInAnAct(operator: OperatorReplica): Promise<{ names: string[]; bare: string[] }> {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const names = batch();
    // While the store sleeps a whole batch gathers, which is then one act.
    world.store.child.kill('SIGSTOP');
    await createAll(names);
    world.store.child.kill('SIGCONT');
    // The first of them is an act of its own.
    await within(30, 'it is at the others', async () => (await progress(names)).whole.length > 1);
    operator.child.kill('SIGSTOP');
    // What it had sent before is answered by then.
    await sleep(500);
    const { absent, bare, whole } = await progress(names);
    console.log(`stopped with ${whole.length} whole, ${bare.length} without material, ${absent.length} not told of`);
    if (whole.length > 0 && bare.length > 1 && absent.length > 0) return { names, bare };
    operator.child.kill('SIGCONT');
    await allReady(names);
  }
  throw new Error('it was never in the middle of an act');
}

async function allReady(names: readonly string[]): Promise<void> {
  let unready: string[] = [];
  await within(40, 'all are Ready', async () => {
    const { items } = await world.client.list<{ metadata: { name: string }; status?: ObjectStatus }>(
      '/apis/sidekey.dev/v1alpha1/namespaces/team/credentials',
    );
    const ready = new Set(
      items
        .filter(({ status }) => status?.conditions.some(({ status, type }) => type === 'Ready' && status === 'True'))
        .map(({ metadata }) => metadata.name),
    );
    unready = names.filter((name) => !ready.has(name));
    return unready.length === 0;
  }).catch((error: Error) => {
    throw new Error(`${error.message}: ${unready.join(' ')}`);
  });
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

test('a leader that is stopped in the middle of an act loses the lead, and undoes nothing of the next one when it wakes', async () => {
  const { bare, names } = await stopInAnAct(first);
  await renewToken(second);
  await world.secret('team', 'keys', 'sk-of-the-next');
  // What the first was just about to fill is another, or gone, by the time it wakes.
  const [deleted, ...others] = bare;
  await world.remove('Credential', 'team', deleted!);
  await within(40, 'the second leads', () => leads(second));
  const living = names.filter((name) => name !== deleted);
  await allReady(living);
  await within(20, 'what is deleted is gone', async () => !(await world.stored()).has(`team/${deleted}`));
  const settled = await world.stored();
  expect(living.filter((name) => settled.get(`team/${name}`)?.fields.join() !== 'value')).toEqual([]);
  // Those that the first had filled have the new value as the second version, the others as their first.
  for (const name of others) expect(settled.get(`team/${name}`), name).toMatchObject({ version: 1 });
  expect(settled.get('team/key')?.version).toBeGreaterThan(1);
  first.child.kill('SIGCONT');
  await within(20, 'the first ends', () => first.child.exitCode !== null);
  expect(first.child.exitCode).toBe(1);
  await within(5, 'it says why', () => first.log.includes('leads no more'));
  expect(await world.stored()).toEqual(settled);
}, 120_000);

test('one that is killed in the middle of an act leaves nothing half done once another leads', async () => {
  let leader = second;
  for (let round = 0; round < 3; round += 1) {
    const next = await world.operator(`after-kill-${round}`);
    await within(20, 'it stands by', () => next.log.includes('stands by'));
    const names = batch();
    const created = createAll(names);
    await within(30, 'some are in the store', async () => (await progress(names)).whole.length > 0);
    await renewToken(next);
    await leader.kill();
    await created;
    const { absent, whole } = await progress(names);
    expect([whole.length > 0, absent.length > 0]).toEqual([true, true]);
    // The first time the Lease runs out; after that whoever knows that its holder is dead need not wait for it.
    if (round > 0) await world.client.delete(LEASE);
    await within(40, 'the next leads', () => leads(next));
    await allReady(names);
    const stored = await world.stored();
    for (const name of names) expect(stored.get(`team/${name}`), name).toMatchObject({ version: 1, fields: ['value'] });
    leader = next;
  }
  second = leader;
}, 240_000);

test('one that is asked to end gives the lead up, and the next takes it within seconds', async () => {
  const third = await world.operator('third');
  await within(10, 'it stands by', () => third.log.includes('stands by'));
  expect(await second.stop()).toBe(0);
  await within(6, 'the third leads', () => leads(third));
  const before = (await version())!;
  await world.secret('team', 'keys', 'sk-3');
  await within(20, 'it acts', async () => (await version())! > before);
  second = third;
}, 60_000);

test('a store that knows nobody any more, under another root, is joined anew by what the ConfigMap then says', async () => {
  await world.store.kill();
  await restartStore(join(world.dir, 'another-store'));
  await renewToken(second);
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
  // After hundreds of others, which the new store is told of.
  await within(40, 'the finalizer', async () => {
    const path = '/apis/sidekey.dev/v1alpha1/namespaces/doomed/credentials/key';
    const { metadata } = await world.client.get<{ metadata: { finalizers?: string[] } }>(path);
    return metadata.finalizers?.includes('sidekey.dev/store') ?? false;
  });
  await world.client.delete('/api/v1/namespaces/doomed');
  await within(40, 'the namespace is gone', () =>
    world.client.get('/api/v1/namespaces/doomed').then(
      () => false,
      () => true,
    ),
  );
  expect((await world.stored()).has('doomed/key')).toBe(false);
}, 120_000);
