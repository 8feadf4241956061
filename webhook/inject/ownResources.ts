import type { V1Container, V1ResourceRequirements } from '@kubernetes/client-node';

/** What LimitRanges give to containers that do not say it themselves. */
const COMPUTE = ['cpu', 'memory', 'ephemeral-storage'];
type Quantities = Record<string, string> | undefined;

/**
 * A container of ours with the compute resources that it has in the pod already and that we do not set: by then a LimitRange of the namespace
 * has been applied, and it is not again after the webhook is called a second time. The pod would be refused for want of them.
 */
export function withGivenResources(ours: V1Container, found: readonly V1Container[] = []): V1Container {
  const given = found.find(({ name }) => name === ours.name)?.resources;
  if (given === undefined) return ours;
  const resources: V1ResourceRequirements = { ...ours.resources };
  for (const kind of ['requests', 'limits'] as const) {
    const merged = { ...computeOf(given[kind]), ...ours.resources?.[kind] };
    if (Object.keys(merged).length > 0) resources[kind] = merged;
  }
  return { ...ours, resources };
}

function computeOf(quantities: Quantities): Record<string, string> {
  return Object.fromEntries(Object.entries(quantities ?? {}).filter(([name]) => COMPUTE.includes(name)));
}
