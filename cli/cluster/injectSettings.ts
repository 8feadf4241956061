import { API_VERSION } from '../../api/metadata.ts';
import type { KubeObject } from '../../lib/kube/client.ts';
import { trustBundleOf } from '../../lib/kube/trustConfigMap.ts';
import { WebhookConfig } from '../../webhook/config.ts';
import type { InjectSettings, NamespaceObjects } from '../../webhook/inject/settings.ts';
import { knownCredential, knownIntegration } from '../../webhook/known/clusterObjects.ts';
import { CliError } from '../errors.ts';
import { type Access, told } from './access.ts';
import { release } from './release.ts';
import { webhookConfig } from './webhookConfig.ts';

interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

/** What the webhook of the cluster goes by, for pods of a namespace. @throws CliError */
export async function injectSettings(access: Access, namespace: string): Promise<InjectSettings> {
  const { client } = access;
  const { namespace: system } = await release(access, 'webhook');
  const configMaps = `/api/v1/namespaces/${system}/configmaps`;
  const parsed = WebhookConfig.safeParse(await webhookConfig(access, system));
  if (!parsed.success)
    throw new CliError('NoWebhookConfig', `the configuration of the webhook in ${system} is not to be understood`, {
      next: 'is the command of the same version as the release? see kubectl sidekey status',
    });
  const { clusterDomain, kubernetes, sidecar, storeUrl } = parsed.data;
  const service = await told(() =>
    client.get<{ spec: { clusterIP: string } }>('/api/v1/namespaces/default/services/kubernetes'),
  );
  const trust = await told(() => client.get<ConfigMap>(`${configMaps}/${kubernetes.trustConfigMap}`));
  return {
    ...sidecar,
    storeUrl,
    clusterDomain,
    apiServerAddress: service.spec.clusterIP,
    namespace,
    trustBundlePem: trustBundleOf(trust)?.pem ?? '',
    objects: await objectsOf(access, namespace),
  };
}

async function objectsOf({ client }: Access, namespace: string): Promise<NamespaceObjects> {
  const known = async <T>(plural: string, read: (object: KubeObject) => T | undefined) => {
    const path = `/apis/${API_VERSION}/namespaces/${namespace}/${plural}`;
    const { items } = await told(() => client.list<KubeObject>(path));
    return new Map(
      items.flatMap((object): [string, T][] => {
        const value = read(object);
        return value === undefined ? [] : [[object.metadata?.name ?? '', value]];
      }),
    );
  };
  return {
    credentials: await known('credentials', knownCredential),
    integrations: await known('integrations', knownIntegration),
  };
}
