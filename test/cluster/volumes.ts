import type { OwnCluster } from './ownCluster.ts';

interface Claim {
  metadata: { uid: string };
}

interface Volume {
  metadata: { name: string };
  spec: { hostPath: { path: string }; claimRef?: { uid?: string } };
}

/** Empties the volumes whose claims are gone and lets them be claimed again, as nobody does for a StorageClass without a provisioner. */
export async function recycleVolumes(cluster: OwnCluster): Promise<void> {
  const client = await cluster.client();
  const volumes = await client.list<Volume>('/api/v1/persistentvolumes');
  const claims = await client.list<Claim>('/api/v1/persistentvolumeclaims');
  const uids = new Set<string | undefined>(claims.items.map(({ metadata }) => metadata.uid));
  for (const { metadata, spec } of volumes.items) {
    if (spec.claimRef === undefined || uids.has(spec.claimRef.uid)) continue;
    cluster.machine.run(['find', spec.hostPath.path, '-mindepth', '1', '-delete']);
    await client.patch(`/api/v1/persistentvolumes/${metadata.name}`, { spec: { claimRef: null } }, 'merge');
  }
}
