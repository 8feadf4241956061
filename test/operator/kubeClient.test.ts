import type { V1ConfigMap } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import type { KubeClient, KubeError } from '../../lib/kube/client.ts';
import { kubeconfigTarget } from '../../lib/kube/kubeconfig.ts';
import { Reflector } from '../../lib/kube/reflector.ts';
import { ControlPlane } from '../cluster/controlPlane.ts';
import { eventually } from './operatorProcess.ts';

const PATH = '/api/v1/namespaces/default/configmaps';
const log = { debug() {}, info() {}, warn() {}, error() {} };

let plane: ControlPlane;
let client: KubeClient;
beforeAll(async () => {
  plane = await ControlPlane.start();
  client = plane.client();
}, 120_000);
afterAll(() => plane?.stop());

const body = (name: string, data: Record<string, string>) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default' },
  data,
});

test('fields that are applied by two managers are kept apart, and go with the one who applied them', async () => {
  await client.apply(`${PATH}/applied`, body('applied', { a: '1' }), 'one');
  await client.apply(`${PATH}/applied`, body('applied', { b: '2' }), 'two');
  expect((await client.get<V1ConfigMap>(`${PATH}/applied`)).data).toEqual({ a: '1', b: '2' });
  await client.apply(`${PATH}/applied`, body('applied', {}), 'two');
  expect((await client.get<V1ConfigMap>(`${PATH}/applied`)).data).toEqual({ a: '1' });
});

test('in a storm of writes replaces conflict and say so, and applies all go through', async () => {
  const object = await client.create<V1ConfigMap>(PATH, body('storm', {}));
  const replaced = await Promise.allSettled(
    Array.from({ length: 40 }, (_, i) => client.replace(`${PATH}/storm`, { ...object, data: { i: String(i) } })),
  );
  const refused = replaced.filter((one) => one.status === 'rejected').map(({ reason }) => reason as KubeError);
  expect(refused).toHaveLength(39);
  for (const error of refused) expect(error).toMatchObject({ status: 409, reason: 'Conflict', code: 'KubeRefused' });
  const applied = Array.from({ length: 40 }, (_, i) =>
    client.apply(`${PATH}/storm`, body('storm', { [`k${i}`]: '' }), `manager-${i}`),
  );
  await Promise.all(applied);
  expect(Object.keys((await client.get<V1ConfigMap>(`${PATH}/storm`)).data!)).toHaveLength(41);
});

test('a long list comes whole, in pages of one state', async () => {
  for (let i = 0; i < 30; i += 1) await client.create(PATH, body(`page-${i}`, {}));
  const names: string[] = [];
  let pages = 0;
  for await (const { items } of client.pages<V1ConfigMap>(PATH, { limit: 7 })) {
    pages += 1;
    names.push(...items.map(({ metadata }) => metadata!.name!));
    await client.create(PATH, body(`meanwhile-${pages}`, {}));
  }
  expect(names.filter((name) => name.startsWith('page-'))).toHaveLength(30);
  expect(names.filter((name) => name.startsWith('meanwhile-'))).toEqual([]);
});

test('a reflector holds what the server holds, also through a restart in the middle', async () => {
  const reflector = new Reflector<V1ConfigMap>({
    client,
    path: PATH,
    clock: systemClock,
    log,
    onChange: () => {},
  });
  reflector.start();
  await reflector.synced();
  await client.create(PATH, body('before', {}));
  await eventually('before', () => reflector.items.has('default/before'));
  await plane.restart(200);
  await client.create(PATH, body('after', {}));
  await client.delete(`${PATH}/before`);
  await eventually('after', () => reflector.items.has('default/after') && !reflector.items.has('default/before'));
  const { items } = await client.list<V1ConfigMap>(PATH);
  expect([...reflector.items.keys()].sort()).toEqual(items.map(({ metadata }) => `default/${metadata!.name}`).sort());
  await eventually('no failure', () => reflector.state.failure === undefined);
  reflector.close();
}, 60_000);

test('a kubeconfig with a client certificate leads to the same server, and one without such a context says so', async () => {
  const target = await kubeconfigTarget({ file: plane.kubeconfigFile });
  expect(target).toMatchObject({ url: plane.url, context: 'sidekey' });
  expect(target.clientCert).toBeDefined();
  await expect(kubeconfigTarget({ file: plane.kubeconfigFile, context: 'none' })).rejects.toThrow(/context "none"/);
});
