import { KubeError } from '../../lib/kube/client.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import { type Access, type Pod, told } from './access.ts';
import { type Component, componentOf, labelsOf, RELEASE_LABELS } from './labels.ts';
import { webhookConfigurations } from './webhookConfigurations.ts';

/** Where a release lives unless `--system-namespace` or the API server says otherwise. */
const USUAL_NAMESPACE = 'sidekey-system';

/** The namespace of the release, and its pods by component. @throws CliError NotInstalled */
export async function release(access: Access, component?: Component): Promise<{ namespace: string; pods: Pod[] }> {
  const { client } = access;
  const labelSelector = component === undefined ? RELEASE_LABELS : labelsOf(component);
  const namespace = await systemNamespace(access);
  const { items } = await told(() => client.list<Pod>(`/api/v1/namespaces/${namespace}/pods`, { labelSelector }));
  const pods = items.filter((pod) => componentOf(pod) !== undefined);
  if (pods.length > 0) return { namespace, pods };
  const what = `no pods of Sidekey${component ? `'s ${component}` : ''} were found in namespace ${namespace}`;
  throw new CliError('NotInstalled', what, {
    exit: EXIT.notRunning,
    next: 'install it (helm install sidekey … --namespace sidekey-system), or name where it is with --system-namespace NS',
  });
}

/**
 * Where the API server finds our webhook, for only administrators of the cluster can say that. Never where pods look like ours: anybody
 * can make those, and would be handed what is meant for the store.
 */
async function systemNamespace(access: Access): Promise<string> {
  if (access.flags.systemNamespace !== undefined) return access.flags.systemNamespace;
  const configurations = await told(() =>
    webhookConfigurations(access).catch((error: unknown) => {
      if (error instanceof KubeError && error.status === 403) return [];
      throw error;
    }),
  );
  const services = configurations.flatMap(({ webhooks = [] }) =>
    webhooks.map(({ clientConfig }) => clientConfig.service),
  );
  const named = new Set(services.flatMap((service) => service?.namespace ?? []));
  if (named.size > 1)
    throw new CliError(
      'SeveralReleases',
      `there is more than one Sidekey, in the namespaces ${[...named].sort().join(', ')}`,
      {
        next: 'say which one with --system-namespace NS',
      },
    );
  return [...named][0] ?? USUAL_NAMESPACE;
}
