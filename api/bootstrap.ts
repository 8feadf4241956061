/**
 * What a parent process says to a part it starts, on file descriptor 3, a private socket pair: one JSON object a line each way.
 *
 * Secrets of the start (join tokens) travel here and never in argv, environment or a file. The parent speaks first, the part
 * answers `ready` or `failed`; when the parent's end closes, the part stops (so nothing outlives a killed parent).
 */
export const CONTROL_FD = 3;

/** Where the key encryption keys of a store are: exactly one of these. A relative path is in the state directory. */
export type KekSpec =
  | { file: string }
  /** A Kubernetes Secret that is mounted as a directory, one key a file; the last by name wraps. */
  | { secretDir: string }
  /** A key of the transit engine of HashiCorp Vault or OpenBao. */
  | { transit: TransitSpec };

export interface TransitSpec {
  /** `https://host:8200` */
  address: string;
  keyName: string;
  /** Read anew for each request. */
  tokenFile: string;
  caFile?: string | undefined;
  /** Where the engine is mounted, if not at `transit`. */
  mount?: string | undefined;
  namespace?: string | undefined;
}

/** To the store: where its state is. */
export interface StoreBootstrap {
  part: 'store';
  stateDir: string;
  /** The file `kek` in the state directory unless it says otherwise. */
  kek?: KekSpec | undefined;
  listenHost: string;
  /** 0: any free port. */
  listenPort: number;
  /** Where `/metrics`, `/healthz` and `/readyz` are served, in plain HTTP; 0: any free port. Nowhere without it. */
  metricsPort?: number | undefined;
  /** 127.0.0.1 unless it says otherwise. */
  metricsHost?: string | undefined;
  /** postgres://… of the database that several stores share; without one it is a file in the state directory. May hold a password. */
  databaseUrl?: string | undefined;
  /** A file that holds the same, such as of a mounted Secret. */
  databaseUrlFile?: string | undefined;
  /** Present where pods join by their ServiceAccount tokens. */
  kubernetes?: StoreKubernetes | undefined;
}

/** Of a store in a cluster: by what pods are known. */
export interface StoreKubernetes {
  /** The ServiceAccount whose pods are operators. */
  operator: { namespace: string; serviceAccount: string };
  /** Where the trust bundle is published (`ca.pem`). */
  trustConfigMap?: { namespace: string; name: string } | undefined;
  /** The pod's own unless it says otherwise. */
  apiServer?: { url?: string | undefined; caFile?: string | undefined; tokenFile?: string | undefined } | undefined;
}

/** To the operator and the sidecar: how to reach the store and become known to it. */
export interface JoinBootstrap {
  /** https:// URL, or those of several replicas with commas between: where one fails, the next is tried. */
  storeUrl: string;
  trustBundlePem: string;
  joinToken: string;
}

export interface OperatorBootstrap extends JoinBootstrap {
  part: 'operator';
  /** Folder of YAML objects. */
  folder: string;
  /** File that statuses are written to (StatusFile). */
  statusFile: string;
}

export interface SidecarBootstrap extends JoinBootstrap {
  part: 'sidecar';
  /** 0: any free port. */
  proxyPort: number;
  healthPort: number;
  /** What happens to hosts without an Integration. */
  egress: 'Open' | 'Closed';
  /** Where the CA bundle for the agent is written (public certificates only). */
  bundleFile: string;
  /** PEM file of extra CAs that upstreams are verified against, besides the system's. */
  extraCaFile?: string;
}

export type PartMessage =
  | { type: 'ready'; storeUrl: string; trustBundlePem: string; metricsPort?: number }
  | { type: 'ready' }
  | { type: 'ready'; proxyPort: number; healthPort: number; caPem: string }
  /** Of the store, before `ready`: its keys cannot be had yet; again when the reason is another. */
  | { type: 'sealed'; code: string; message: string }
  | { type: 'failed'; code: string; message: string };
