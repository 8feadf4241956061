import type { KubeObject } from './kubeObject.ts';

/** Key of the ConfigMap in which the store publishes what it is trusted by. */
export const TRUST_KEY = 'ca.pem';

/** The bundle in it; undefined while there is none. */
export function trustBundleOf(object: KubeObject): { pem: string } | undefined {
  const pem = (object as { data?: Record<string, string> }).data?.[TRUST_KEY] ?? '';
  return pem.includes('-----BEGIN CERTIFICATE-----') ? { pem } : undefined;
}
