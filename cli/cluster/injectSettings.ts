import { Credential } from '../../api/credential.ts';
import { Integration } from '../../api/integration.ts';
import { placeholderOf } from '../../api/placeholder.ts';
import { WebhookConfig } from '../../webhook/config.ts';
import type { InjectSettings, NamespaceObjects } from '../../webhook/inject/settings.ts';
import { CliError } from '../errors.ts';
import { type Access, release, told } from './access.ts';

interface ConfigMap {
  data?: Record<string, string>;
}

/** What the webhook of the cluster goes by, for pods of a namespace. @throws CliError */
export async function injectSettings(access: Access, namespace: string): Promise<InjectSettings> {
  const { client } = access;
  const { namespace: system } = await release(access, 'webhook');
  const configMaps = `/api/v1/namespaces/${system}/configmaps`;
  const labelSelector = 'app.kubernetes.io/name=sidekey,app.kubernetes.io/component=webhook';
  const { items } = await told(() => client.list<ConfigMap>(configMaps, { labelSelector }));
  const text = items.map(({ data }) => data?.['config.json']).find((one) => one !== undefined);
  const parsed = WebhookConfig.safeParse(text === undefined ? undefined : JSON.parse(text));
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
    trustBundlePem: trust.data?.['ca.pem'] ?? '',
    objects: await objectsOf(access, namespace),
  };
}

async function objectsOf({ client }: Access, namespace: string): Promise<NamespaceObjects> {
  const path = `/apis/sidekey.dev/v1alpha1/namespaces/${namespace}`;
  const credentials = await told(() => client.list<unknown>(`${path}/credentials`));
  const integrations = await told(() => client.list<unknown>(`${path}/integrations`));
  return {
    credentials: new Map(
      valid(credentials.items, Credential).map(({ metadata, spec }) => [
        metadata.name,
        { placeholder: placeholderOf({ key: `${metadata.namespace}/${metadata.name}`, hosts: spec.hosts }) },
      ]),
    ),
    integrations: new Map(valid(integrations.items, Integration).map(({ metadata, spec }) => [metadata.name, spec])),
  };
}

function valid<T>(
  items: readonly unknown[],
  schema: { safeParse(value: unknown): { success: boolean; data?: T } },
): T[] {
  return items.flatMap((item) => {
    const parsed = schema.safeParse(item);
    return parsed.success ? [parsed.data!] : [];
  });
}
