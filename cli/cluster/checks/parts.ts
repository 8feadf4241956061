import { INJECT_LABEL, SIDECAR_CONTAINER } from '../../../api/pods.ts';
import { errorText } from '../../../lib/errors.ts';
import { KubeError } from '../../../lib/kube/client.ts';
import { type Access, COMPONENTS, componentOf, isReady, type Pod } from '../access.ts';
import type { Check, Finding } from '../finding.ts';
import { versionOf } from '../version.ts';

/** Each part answers; a store that does not says why (sealed, degraded). */
export const partsReady: Check = async ({ access, namespace, pods }) =>
  Promise.all(
    COMPONENTS.map(async (component): Promise<Finding> => {
      const own = pods.filter((pod) => componentOf(pod) === component);
      const ready = own.filter(isReady);
      const message = `${ready.length} of ${own.length} ready`;
      if (own.length > 0 && ready.length === own.length) return { check: component, state: 'ok', message };
      const unready = own.find((pod) => !isReady(pod));
      const why = unready === undefined ? undefined : await readinessOf(access, unready);
      return {
        check: component,
        state: ready.length > 0 ? 'warning' : 'failed',
        message: why === undefined ? message : `${message}: ${why}`,
        next:
          unready === undefined
            ? `nothing of it runs; see kubectl -n ${namespace} get deployments,statefulsets`
            : `kubectl -n ${namespace} logs ${unready.metadata.name}`,
      };
    }),
  );

/** What the part itself says, through the API server. */
async function readinessOf({ client }: Access, { metadata }: Pod): Promise<string | undefined> {
  try {
    const path = `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}:9090/proxy/readyz`;
    return JSON.stringify(await client.get(path));
  } catch (error) {
    if (error instanceof KubeError && error.status === 503) return error.serverMessage || 'it answers 503';
    return `it cannot be asked (${errorText(error)})`;
  }
}

/** Parts and sidecars of one version: an older sidecar works, until its pod is made anew. */
export const versionsAlike: Check = async ({ access, namespace, pods }) => {
  const parts = new Map(pods.map((pod) => [componentOf(pod) ?? '', versionOf(pod.spec.containers[0]?.image)]));
  const versions = new Set(parts.values());
  const { items } = await access.client.list<Pod>('/api/v1/pods', { labelSelector: `${INJECT_LABEL}=true` });
  const sidecars = items.flatMap((pod) =>
    (pod.spec.initContainers ?? [])
      .filter(({ name }) => name === SIDECAR_CONTAINER)
      .map(({ image }) => ({ pod, image })),
  );
  const older = sidecars.filter(({ image }) => !versions.has(versionOf(image)));
  const findings: Finding[] = [
    versions.size <= 1
      ? { check: 'versions', state: 'ok', message: `every part is ${[...versions].join()}` }
      : {
          check: 'versions',
          state: 'warning',
          message: [...parts].map(([component, version]) => `${component} ${version}`).join(', '),
          next: `an upgrade is under way or was broken off: kubectl -n ${namespace} rollout status deployment`,
        },
  ];
  if (older.length > 0)
    findings.push({
      check: 'versions',
      state: 'warning',
      message: `${older.length} agent pods have a sidecar of another version, such as ${nameOf(older[0]!.pod)}`,
      next: 'they get the new one when they are made anew: kubectl rollout restart their Deployments',
    });
  return findings;
};

/** Pods with the label and without the sidecar were made while nobody looked, or before the label. */
export const labelledPodsHaveSidecars: Check = async ({ access, namespace }) => {
  const { items } = await access.client.list<Pod>('/api/v1/pods', { labelSelector: `${INJECT_LABEL}=true` });
  const living = items.filter(
    ({ metadata, status }) =>
      status?.phase !== 'Succeeded' && status?.phase !== 'Failed' && metadata.namespace !== namespace,
  );
  const bare = living.filter(({ spec }) => !spec.initContainers?.some(({ name }) => name === SIDECAR_CONTAINER));
  if (bare.length === 0)
    return [{ check: 'agent pods', state: 'ok', message: `all ${living.length} labelled pods have their sidecar` }];
  return [
    {
      check: 'agent pods',
      state: 'failed',
      message: `${bare.length} labelled pods have no sidecar: ${bare.slice(0, 3).map(nameOf).join(', ')}`,
      next: 'they were made before the label or the webhook was there; delete them to have them made anew',
    },
  ];
};

function nameOf({ metadata }: Pod): string {
  return `${metadata.namespace}/${metadata.name}`;
}
