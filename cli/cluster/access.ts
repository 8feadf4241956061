import { INJECT_LABEL, SIDECAR_CONTAINER } from '../../api/pods.ts';
import { KubeClient, KubeError } from '../../lib/kube/client.ts';
import { kubeconfigTarget } from '../../lib/kube/kubeconfig.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import type { ClusterFlags } from './flags.ts';

export interface Access {
  readonly client: KubeClient;
  /** Of the kubeconfig's context: where `-n` is left out. */
  readonly namespace: string;
  readonly flags: ClusterFlags;
}

/** The API server that kubectl would talk to. @throws CliError NoCluster */
export async function openAccess(flags: ClusterFlags): Promise<Access> {
  try {
    const target = await kubeconfigTarget({ file: flags.kubeconfig, context: flags.context });
    return { client: new KubeClient(target), namespace: target.namespace ?? 'default', flags };
  } catch (error) {
    throw new CliError('NoCluster', `there is no cluster to talk to: ${(error as Error).message}`, {
      exit: EXIT.notRunning,
      next: 'name its file with --kubeconfig FILE or KUBECONFIG; kubectl config get-contexts lists what is in it',
      cause: error,
    });
  }
}

interface Container {
  name: string;
  image?: string;
  env?: { name: string; value?: string }[];
}

/** A pod as far as commands look at it (core/v1). */
export interface Pod {
  metadata: {
    name: string;
    namespace: string;
    uid?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    deletionTimestamp?: string;
  };
  spec: {
    serviceAccountName?: string;
    containers: Container[];
    initContainers?: Container[];
    os?: { name: string };
    nodeSelector?: Record<string, string>;
  };
  status?: {
    phase?: string;
    conditions?: { type: string; status: string; message?: string }[];
    initContainerStatuses?: { name: string; ready: boolean; restartCount: number }[];
  };
}

export function isReady(pod: Pod): boolean {
  return pod.status?.conditions?.some(({ status, type }) => type === 'Ready' && status === 'True') ?? false;
}

/** Whether it may still do something: what ended stays in the list for a while. */
export function isLiving({ status }: Pod): boolean {
  return status?.phase !== 'Succeeded' && status?.phase !== 'Failed';
}

/** The sidecar that the webhook put into it, if it did. */
export function sidecarOf({ spec }: Pod): Container | undefined {
  return spec.initContainers?.find(({ name }) => name === SIDECAR_CONTAINER);
}

/** Pods of all namespaces that ask for a sidecar. */
export async function labelledPods({ client }: Access): Promise<Pod[]> {
  return (await client.list<Pod>('/api/v1/pods', { labelSelector: `${INJECT_LABEL}=true` })).items;
}

/** What the API server refused, in words of a command. @throws CliError NotFound, Forbidden, ClusterUnreachable */
export async function told<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    throw clusterError(error);
  }
}

function clusterError(error: KubeError): CliError {
  if (error.status === 404)
    return new CliError('NotFound', error.serverMessage || error.message, { next: 'check the name and -n NAMESPACE' });
  if (error.status === 401 || error.status === 403)
    return new CliError('Forbidden', error.serverMessage || error.message, {
      exit: EXIT.refused,
      next: 'ask whoever runs the cluster for that right; kubectl auth can-i --list shows yours',
    });
  return new CliError('ClusterUnreachable', `the API server did not answer: ${error.message}`, {
    exit: EXIT.notRunning,
    next: 'see whether kubectl get namespaces works',
    cause: error,
  });
}
