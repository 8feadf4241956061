import { afterEach, beforeEach, expect, test } from 'vitest';
import type { KubeError } from '../../lib/kube/client.ts';
import { KubeWorld, type OperatorReplica } from './kubeWorld.ts';
import { within } from './operatorProcess.ts';

const NS = 'team';
const CREDENTIALS = '/apis/sidekey.dev/v1alpha1/credentials';
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const BINDINGS = [
  `${RBAC}/clusterrolebindings/sidekey-operator`,
  `${RBAC}/namespaces/${NS}/rolebindings/sidekey`,
] as const;
const LATER = Array.from({ length: 60 }, (_, i) => `later-${i}`);
/** A reflector that was refused for long tries again after half a minute. */
const AGAIN_SECONDS = 90;

let world: KubeWorld;
let operator: OperatorReplica;
// Anew for each try: an API server that is slow to come back takes the lead from the operator, which then ends, as it should.
beforeEach(async () => {
  world = await KubeWorld.start();
  operator = await world.operator();
  await world.namespace(NS);
  await world.secret(NS, 'keys', 'sk-1');
  await world.secret(NS, 'goes', 'sk-1');
  await world.credential(NS, 'stays');
  await world.credential(NS, 'deleted');
  await world.credential(NS, 'bereft', { secret: { name: 'goes', key: 'key' } });
  await world.integration(NS, 'stays', 'stays');
  await world.integration(NS, 'deleted', 'stays');
  for (const name of ['stays', 'deleted', 'bereft']) await reason(name, 'Ready', 20);
}, 120_000);
afterEach(() => world?.stop());

const reason = (name: string, wanted: string, seconds = AGAIN_SECONDS) =>
  within(seconds, `${name} says ${wanted}`, async () => (await world.ready('Credential', NS, name))?.reason === wanted);

/** Takes its rights from the operator, all but those to its Lease; what it follows breaks off with the API server. Gives them back. */
async function withoutRights(): Promise<() => Promise<void>> {
  const taken = await Promise.all(
    BINDINGS.map(async (path) => ({ path, binding: await world.client.get<{ metadata: object }>(path) })),
  );
  for (const { path } of taken) await world.client.delete(path);
  await world.plane.restart();
  await within(30, 'the operator may not look', async () =>
    /^sidekey_operator_reflectors\{collection="credentials",state="failed"\} 1$/m.test((await operator.metrics()).text),
  );
  return async () => {
    for (const { binding, path } of taken) {
      const { name, namespace } = binding.metadata as { name: string; namespace?: string };
      await world.client.create(path.slice(0, path.lastIndexOf('/')), { ...binding, metadata: { name, namespace } });
    }
  };
}

/** The status that a watch from there is refused with; undefined if it is not. */
async function watchFrom(resourceVersion: string): Promise<number | undefined> {
  const stop = new AbortController();
  try {
    for await (const _ of world.client.watch(CREDENTIALS, { resourceVersion }, stop.signal)) return undefined;
  } catch (error) {
    return (error as KubeError).status;
  } finally {
    stop.abort();
  }
  return undefined;
}

test('an operator whose watches are too old for the API server lists anew and holds what is true, deletions too', {
  retry: 2,
  timeout: 240_000,
}, async () => {
  const { resourceVersion } = await world.client.list(CREDENTIALS);
  const giveBack = await withoutRights();
  // All of that is never told by a watch.
  await world.secret(NS, 'keys', 'sk-2');
  await world.client.delete(`/api/v1/namespaces/${NS}/secrets/goes`);
  await world.client.patch(
    `/apis/sidekey.dev/v1alpha1/namespaces/${NS}/credentials/deleted`,
    { metadata: { finalizers: null } },
    'merge',
  );
  await world.remove('Credential', NS, 'deleted');
  await world.remove('Integration', NS, 'deleted');
  await Promise.all(LATER.map((name) => world.credential(NS, name)));
  await world.plane.compact();
  await world.plane.restart();
  // It says 429 while it fills what it watches from.
  await within(30, 'what was known is too old', async () => (await watchFrom(resourceVersion)) === 410);
  await giveBack();
  await within(AGAIN_SECONDS, 'the new ones are in the store', async () => {
    const stored = await world.stored();
    return LATER.every((name) => stored.get(`${NS}/${name}`)?.version === 1);
  });
  for (const name of ['stays', LATER[0]!, LATER.at(-1)!]) await reason(name, 'Ready');
  await reason('bereft', 'SecretDoesNotExist');
  await within(20, 'the rest is true', async () => {
    const stored = await world.stored();
    return (
      stored.get(`${NS}/stays`)?.version === 2 &&
      stored.get(`${NS}/bereft`)?.fields.length === 0 &&
      !stored.has(`${NS}/deleted`)
    );
  });
  expect((await world.stored()).size).toBe(2 + LATER.length);
  // Those that nothing above waited for, too.
  await within(
    AGAIN_SECONDS,
    'everything is followed',
    async () => !/state="failed"\} [1-9]/.test((await operator.metrics()).text),
  );
  // And it follows again.
  await world.secret(NS, 'keys', 'sk-3');
  await within(20, 'what changes now', async () => (await world.stored()).get(`${NS}/stays`)?.version === 3);
  expect(operator.child.exitCode).toBeNull();
});
