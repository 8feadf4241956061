import type { V1ObjectMeta } from '@kubernetes/client-node';
import { API_VERSION } from '../../../api/metadata.ts';
import { type KubeClient, KubeError } from '../../../lib/kube/client.ts';
import type { Logger } from '../../../lib/log.ts';
import { STORE_FINALIZER } from '../../source/kube/finalizer.ts';
import { FINALIZER_MANAGER } from './finalizers.ts';

const NOT_FOUND = 404;
const CONFLICT = 409;

interface Listed {
  metadata: V1ObjectMeta;
}

/** Takes our finalizer off every Credential once no operator is left to do so: after an uninstall, or namespaces could never be deleted. @throws KubeRefused, KubeUnreachable */
export async function releaseFinalizers({ client, log }: { client: KubeClient; log: Logger }): Promise<number> {
  const collection = `/apis/${API_VERSION}/credentials`;
  let released = 0;
  for (const { metadata } of await listed(client, collection)) {
    if (!metadata.finalizers?.includes(STORE_FINALIZER)) continue;
    const { name, namespace, uid } = metadata;
    try {
      await client.apply(
        `/apis/${API_VERSION}/namespaces/${namespace}/credentials/${name}`,
        { apiVersion: API_VERSION, kind: 'Credential', metadata: { name, namespace, uid } },
        FINALIZER_MANAGER,
      );
      released += 1;
    } catch (error) {
      // Gone in the meantime, or another by its name, which has none.
      if (!(error instanceof KubeError && (error.status === NOT_FOUND || error.status === CONFLICT))) throw error;
    }
  }
  log.info({ released }, 'no Credential waits for the store any more');
  return released;
}

/** Nothing, where the CRDs are gone already. */
async function listed(client: KubeClient, collection: string): Promise<Listed[]> {
  try {
    return (await client.list<Listed>(collection)).items;
  } catch (error) {
    if (error instanceof KubeError && error.status === NOT_FOUND) return [];
    throw error;
  }
}
