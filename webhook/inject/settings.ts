import type { Subjects } from '../../api/integration.ts';

/** What an injected pod depends on besides itself. */
export interface InjectSettings {
  image: string;
  imagePullPolicy?: 'Always' | 'IfNotPresent' | 'Never' | undefined;
  resources: { requests?: Record<string, string> | undefined; limits?: Record<string, string> | undefined };
  storeUrl: string;
  /** PEM by which the store is trusted. */
  trustBundlePem: string;
  /** Where the pod's annotation does not say. */
  egress: 'Open' | 'Closed';
  /** PEM of CAs that upstreams are verified by, besides the system's. */
  extraCaPem?: string | undefined;
  /** IP address by which pods call the API server, if it is known. */
  apiServerAddress?: string | undefined;
  /** Of the cluster's names, such as cluster.local. */
  clusterDomain: string;
  /** Of the pod, which need not say it itself while it is being created. */
  namespace: string;
  /** In that namespace. */
  objects: NamespaceObjects;
}

/** What is known of one namespace; by name. */
export interface NamespaceObjects {
  credentials: ReadonlyMap<string, { placeholder: string }>;
  integrations: ReadonlyMap<string, KnownIntegration>;
}

export interface KnownIntegration {
  alias?: string | undefined;
  hosts: readonly string[];
  subjects: Subjects;
}
