import type { Pod } from './access.ts';

/** What every object of a release has, whatever its name. */
export const RELEASE_LABELS = 'app.kubernetes.io/name=sidekey';

export const COMPONENTS = ['store', 'operator', 'webhook'] as const;
export type Component = (typeof COMPONENTS)[number];

const COMPONENT_LABEL = 'app.kubernetes.io/component';

/** Which part of a release the pod is of, if it is of any. */
export function componentOf({ metadata }: Pod): string | undefined {
  return metadata.labels?.[COMPONENT_LABEL];
}

/** The selector of a component's objects: their names follow from values of the chart. */
export function labelsOf(component: Component): string {
  return `${RELEASE_LABELS},${COMPONENT_LABEL}=${component}`;
}
