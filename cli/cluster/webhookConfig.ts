import type { KubeObject } from '../../lib/kube/client.ts';
import { type Access, told } from './access.ts';
import { labelsOf } from './labels.ts';

interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

/** What the webhooks of a release are started with, as it is: they may be of another version. @throws CliError */
export async function webhookConfig({ client }: Access, system: string): Promise<unknown> {
  const path = `/api/v1/namespaces/${system}/configmaps`;
  const { items } = await told(() => client.list<ConfigMap>(path, { labelSelector: labelsOf('webhook') }));
  const text = items.map(({ data }) => data?.['config.json']).find((one) => one !== undefined);
  return text === undefined ? undefined : JSON.parse(text);
}
