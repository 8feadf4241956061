import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ControlPlane } from './controlPlane.ts';
import { makeNamespace } from './e2e/madeNamespace.ts';
import { helm, SYSTEM_NAMESPACE } from './e2e/release.ts';
import { leave, refuseOccupied } from './e2e/traces.ts';
import { GivenCluster } from './givenCluster.ts';
import { deleteKinds, KINDS } from './kinds.ts';

/** The first run on a machine builds it. */
const BUILD_LIMIT_MS = 20 * 60_000;
const LIMIT_MS = 180_000;
const CRDS = join(import.meta.dirname, '../../charts/sidekey-crds');
const FIRST = ['default', 'kube-node-lease', 'kube-public', 'kube-system'];

let plane: ControlPlane;
let cluster: GivenCluster;
beforeAll(async () => {
  plane = await ControlPlane.start({ controllers: true });
  cluster = new GivenCluster(plane.kubeconfigFile);
}, BUILD_LIMIT_MS);
afterAll(() => plane?.stop());

const names = async (kind: string) =>
  (await cluster.kubectl(['get', kind, '-o', 'jsonpath={.items[*].metadata.name}'])).stdout.split(' ').filter(Boolean);
const installKinds = () => helm(cluster, ['install', 'sidekey-crds', CRDS, '--namespace', 'default']);
const silent = () => {};

test(
  "what somebody else has installed is refused by name and survives a run's end",
  async () => {
    await refuseOccupied(cluster);
    await installKinds();
    await expect(refuseOccupied(cluster)).rejects.toThrow(
      /release sidekey-crds in the namespace default, the kind credentials\.sidekey\.dev.*KUBECONFIG/,
    );
    await leave(cluster, silent);
    expect(await names('customresourcedefinitions')).toEqual(KINDS);
    await helm(cluster, ['uninstall', 'sidekey-crds', '--namespace', 'default']);
    await deleteKinds(cluster, KINDS);

    await cluster.kubectl(['create', 'namespace', SYSTEM_NAMESPACE]);
    await expect(makeNamespace(cluster, SYSTEM_NAMESPACE)).rejects.toThrow('already exists');
    await expect(refuseOccupied(cluster)).rejects.toThrow(`the namespace ${SYSTEM_NAMESPACE}. Take`);
    await leave(cluster, silent);
    expect(await names('namespaces')).toContain(SYSTEM_NAMESPACE);
    await cluster.kubectl(['delete', 'namespace', SYSTEM_NAMESPACE]);
  },
  LIMIT_MS,
);

test(
  'nothing is left of a run, also of one that was cut short while Credentials were held',
  async () => {
    for (const name of [SYSTEM_NAMESPACE, 'team-a']) await makeNamespace(cluster, name);
    await installKinds();
    const credential = {
      apiVersion: 'sidekey.dev/v1alpha1',
      kind: 'Credential',
      metadata: { name: 'key', namespace: 'team-a', finalizers: ['sidekey.dev/store'] },
      spec: { source: { secret: { name: 'key', key: 'value' } }, hosts: ['api.example.com'] },
    };
    const { code, stderr } = await cluster.kubectl(['create', '-f', '-'], { input: JSON.stringify(credential) });
    expect(code, stderr).toBe(0);
    await expect(refuseOccupied(cluster)).rejects.toThrow('make cluster-clean');
    await leave(cluster, silent);
    expect(await names('namespaces')).toEqual(FIRST);
    expect(await names('customresourcedefinitions')).toEqual([]);
    await refuseOccupied(cluster);
  },
  LIMIT_MS,
);

test('a file that is not there, or names a cluster that does not answer, is told as such before anything else', async () => {
  await expect(new GivenCluster('/not/there').reach()).rejects.toThrow(/KUBECONFIG=\/not\/there .*no such file/);
  await expect(new GivenCluster(import.meta.filename).reach()).rejects.toThrow(/cannot be used: .*\nUnset KUBECONFIG/s);
  await expect(cluster.reach()).resolves.toBeUndefined();
});
