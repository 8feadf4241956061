import { afterAll, beforeAll, expect, test } from 'vitest';
import { KubeWorld } from './kubeWorld.ts';
import { eventually } from './operatorProcess.ts';

let world: KubeWorld;
beforeAll(async () => {
  world = await KubeWorld.start();
  await world.operator();
}, 120_000);
afterAll(() => world?.stop());

const isReady = (kind: 'Credential' | 'Integration', namespace: string, name: string) =>
  eventually(`${kind} ${namespace}/${name} is Ready`, async () => {
    const ready = await world.ready(kind, namespace, name);
    return ready?.status === 'True' && ready;
  });

test('objects come to the store, their statuses back, and the Credential is held until the store has dropped it', async () => {
  await world.namespace('first');
  await world.secret('first', 'keys', 'sk-1');
  await world.credential('first', 'key');
  await world.integration('first', 'example');
  await isReady('Credential', 'first', 'key');
  await isReady('Integration', 'first', 'example');
  expect(await world.status('Credential', 'first', 'key')).toMatchObject({
    observedGeneration: 1,
    source: 'secret',
    version: 1,
    placeholder: expect.stringMatching(/sidekeyPlaceholder/),
  });
});
