import type { Cluster } from '../cluster.ts';
import { deleteKinds, KINDS } from '../kinds.ts';
import { OwnCluster } from '../ownCluster.ts';
import { recycleVolumes } from '../volumes.ts';
import { MARK } from './madeNamespace.ts';
import { helm, SYSTEM_NAMESPACE } from './release.ts';
import { UPSTREAM_NAMESPACE } from './upstreamPod.ts';

const RELEASES = ['sidekey', 'sidekey-crds'];
const LIMIT = '120s';

/**
 * Looks, and changes nothing.
 *
 * @throws Error that names what a run would meet: a Sidekey that is installed, or what an earlier run has left
 */
export async function refuseOccupied(cluster: Cluster): Promise<void> {
  const all = JSON.parse(await helm(cluster, ['list', '--all-namespaces', '-o', 'json']));
  const releases = (all as { name: string; namespace: string }[]).filter(({ name }) => RELEASES.includes(name));
  const ours = await names(cluster, ['namespaces', '-l', MARK]);
  const namespaces = await names(cluster, ['namespaces', SYSTEM_NAMESPACE, UPSTREAM_NAMESPACE]);
  const found = [
    ...releases.map(({ name, namespace }) => `the release ${name} in the namespace ${namespace}`),
    ...[...new Set([...namespaces, ...ours])].map((name) => `the namespace ${name}`),
    ...(await names(cluster, ['customresourcedefinitions', ...KINDS])).map((name) => `the kind ${name}`),
  ];
  if (found.length === 0) return;
  const way =
    ours.length > 0
      ? 'They are of another run; if that was cut short, `make cluster-clean` takes them away.'
      : 'Take them away, name another cluster by KUBECONFIG, or unset it.';
  throw new Error(
    `a run installs a Sidekey of its own and touches no other, and this cluster has ${found.join(', ')}. ${way}`,
  );
}

/** Leaves a cluster that outlives the run as it was found, and ends any other. @throws Error with what could not be taken away */
export async function leave(cluster: Cluster, say: (line: string) => void): Promise<void> {
  try {
    if (!cluster.outlivesRun) return;
    say('taking away what was installed …');
    await removeTraces(cluster);
    say('nothing of the run is left in the cluster');
  } finally {
    await cluster.stop();
  }
}

/** Takes away what a run has made, however far it came; of what it has not made, nothing. */
async function removeTraces(cluster: Cluster): Promise<void> {
  const namespaces = await names(cluster, ['namespaces', '-l', MARK]);
  // This is made before anything of the charts: without it, whatever there is of them is somebody else's.
  if (namespaces.includes(SYSTEM_NAMESPACE)) await uninstall(cluster);
  if (namespaces.length > 0) await kubectl(cluster, ['delete', 'namespace', ...namespaces, `--timeout=${LIMIT}`]);
  await kubectl(cluster, ['delete', 'clusterroles', '-l', MARK]);
  if (cluster instanceof OwnCluster) await recycleVolumes(cluster);
}

async function uninstall(cluster: Cluster): Promise<void> {
  const release = ['uninstall', 'sidekey', '--namespace', SYSTEM_NAMESPACE, '--ignore-not-found'];
  const { code } = await cluster.helm([...release, '--wait', '--timeout', LIMIT]);
  // A release that never ran has no image for what it would run last.
  if (code !== 0) await helm(cluster, [...release, '--no-hooks']);
  await helm(cluster, ['uninstall', 'sidekey-crds', '--namespace', 'default', '--ignore-not-found']);
  // The chart keeps them through an uninstall.
  const kinds = await names(cluster, ['customresourcedefinitions', ...KINDS]);
  if (kinds.length === 0) return;
  await releaseObjects(cluster, kinds);
  await deleteKinds(cluster, kinds);
}

interface Held {
  kind: string;
  metadata: { name: string; namespace: string; finalizers?: string[] };
}

/** Takes the finalizers off, as the release does where it comes to. */
async function releaseObjects(cluster: Cluster, kinds: readonly string[]): Promise<void> {
  const text = await kubectl(cluster, ['get', kinds.join(), '--all-namespaces', '-o', 'json']);
  for (const { kind, metadata } of (JSON.parse(text) as { items: Held[] }).items) {
    if (!metadata.finalizers?.length) continue;
    const patch = ['patch', kind, metadata.name, '--type=merge', '-p', '{"metadata":{"finalizers":null}}'];
    await kubectl(cluster, ['-n', metadata.namespace, ...patch]);
  }
}

async function names(cluster: Cluster, what: readonly string[]): Promise<string[]> {
  const text = await kubectl(cluster, ['get', ...what, '--ignore-not-found', '-o', 'name']);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.slice(line.indexOf('/') + 1));
}

/** @throws Error with what kubectl says */
async function kubectl(cluster: Cluster, args: readonly string[]): Promise<string> {
  const { code, stderr, stdout } = await cluster.kubectl(args);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')} failed: ${stderr}`);
  return stdout;
}
