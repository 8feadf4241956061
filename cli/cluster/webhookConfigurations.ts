import type { Access } from './access.ts';
import type { LabelSelector } from './labelSelector.ts';
import { RELEASE_LABELS } from './labels.ts';

/** What the API server knows of our webhooks (admissionregistration.k8s.io/v1). */
export interface WebhookConfiguration {
  metadata: { name: string; annotations?: Record<string, string> };
  webhooks?: {
    name: string;
    clientConfig: { caBundle?: string; service?: { namespace: string } };
    namespaceSelector?: LabelSelector;
  }[];
}

export async function webhookConfigurations({ client }: Access): Promise<WebhookConfiguration[]> {
  const { items } = await client.list<WebhookConfiguration>(
    '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
    { labelSelector: RELEASE_LABELS },
  );
  return items;
}
