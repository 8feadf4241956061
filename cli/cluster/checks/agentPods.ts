import { KubeError } from '../../../lib/kube/client.ts';
import { leftOut } from '../../../webhook/inject/leftOut.ts';
import { type Access, isLiving, labelledPods, type Pod, sidecarOf } from '../access.ts';
import type { Check, Finding } from '../finding.ts';
import { selects } from '../labelSelector.ts';
import { webhookConfigurations } from '../webhookConfigurations.ts';

const POD_WEBHOOK = 'pods.sidekey.dev';
const REASONS = {
  Windows: 'for Windows',
  StaticPod: 'of a kubelet itself',
  Namespace: 'in a namespace that the webhook leaves out',
} as const;

/** Pods with the label and without the sidecar were made while nobody looked, or before the label; unless they are left out by intent. */
export const labelledPodsHaveSidecars: Check = async ({ access }) => {
  const living = (await labelledPods(access)).filter(isLiving);
  const bare = living.filter((pod) => sidecarOf(pod) === undefined);
  const excluded = bare.length === 0 ? new Set<string>() : await excludedNamespaces(access, bare);
  const reasonOf = (pod: Pod) => leftOut(pod) ?? (excluded.has(pod.metadata.namespace) ? 'Namespace' : undefined);
  const faulty = bare.filter((pod) => reasonOf(pod) === undefined);
  const check = 'agent pods';
  const skipped = Object.entries(REASONS).flatMap(([reason, text]): Finding[] => {
    const those = bare.filter((pod) => reasonOf(pod) === reason);
    return those.length === 0
      ? []
      : [{ check, state: 'ok', message: `skipped: ${those.length} ${text}, without a sidecar: ${some(those)}` }];
  });
  return [
    faulty.length === 0
      ? { check, state: 'ok', message: `all ${living.length - bare.length} labelled pods have their sidecar` }
      : {
          check,
          state: 'failed',
          message: `${faulty.length} labelled pods have no sidecar: ${some(faulty)}`,
          next: 'they were made before the label or the webhook was there; delete them to have them made anew',
        },
    ...skipped,
  ];
};

/** Those of the pods' namespaces that the API server does not ask the webhook about. */
async function excludedNamespaces(access: Access, pods: readonly Pod[]): Promise<Set<string>> {
  const webhooks = (await webhookConfigurations(access)).flatMap(({ webhooks = [] }) =>
    webhooks.filter(({ name }) => name === POD_WEBHOOK),
  );
  const excluded = new Set<string>();
  if (webhooks.length === 0) return excluded;
  for (const namespace of new Set(pods.map(({ metadata }) => metadata.namespace))) {
    const labels = await namespaceLabels(access, namespace);
    if (!webhooks.some(({ namespaceSelector = {} }) => selects(namespaceSelector, labels))) excluded.add(namespace);
  }
  return excluded;
}

async function namespaceLabels({ client }: Access, name: string): Promise<Record<string, string>> {
  try {
    const { metadata } = await client.get<{ metadata: { labels?: Record<string, string> } }>(
      `/api/v1/namespaces/${name}`,
    );
    return metadata.labels ?? {};
  } catch (error) {
    if (!(error instanceof KubeError) || error.status !== 403) throw error;
    // The one that every namespace has, and that the chart goes by.
    return { 'kubernetes.io/metadata.name': name };
  }
}

function some(pods: readonly Pod[]): string {
  const names = pods.slice(0, 3).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
  return `${names.join(', ')}${pods.length > names.length ? ' …' : ''}`;
}
