import type { Session } from './session.ts';

/** What agent pods carry: labels that people set, annotations and names that the webhook sets. */
export const INJECT_LABEL = 'sidekey.dev/inject';
export const ROLE_LABEL = 'sidekey.dev/role';
/** `tag.sidekey.dev/<name>`, whatever the value but `false`. */
export const TAG_LABEL_PREFIX = 'tag.sidekey.dev/';

/** `proxy` unless it says `baseURL` or `transparent`. */
export const CAPTURE_ANNOTATION = 'sidekey.dev/capture';
/** What happens to hosts without an Integration: `Open` (default) or `Closed`. */
export const EGRESS_ANNOTATION = 'sidekey.dev/egress';
/** Further TCP ports that `transparent` captures, with commas between. */
export const CAPTURE_PORTS_ANNOTATION = 'sidekey.dev/capture-ports';
/** Set from the admission's userInfo: who asked for the workload. */
export const REQUESTED_BY_ANNOTATION = 'sidekey.dev/requested-by';
/** Set by the webhook: `injected`, or why not. */
export const STATUS_ANNOTATION = 'sidekey.dev/status';

/** The audience of the token by which a pod becomes known to the store. */
export const TOKEN_AUDIENCE = 'sidekey';
export const SIDECAR_CONTAINER = 'sidekey';
export const REDIRECT_CONTAINER = 'sidekey-redirect';
/** The user that only the sidecar runs as. */
export const SIDECAR_UID = 64_000;

export const SIDECAR_PORTS = {
  proxy: 15_080,
  health: 15_021,
  /** The first captured port is led here, the next to the one after it: a redirected socket does not tell where it was going. */
  transparentBase: 15_100,
} as const;
export const CAPTURED_PORTS = [80, 443] as const;

export const SIDECAR_PATHS = {
  /** Projected ServiceAccount token; only in the sidecar. */
  tokenDir: '/var/run/secrets/sidekey',
  tokenFile: '/var/run/secrets/sidekey/token',
  /** In memory, only in the sidecar: its interception CA, and the newest trust bundle. */
  privateDir: '/var/run/sidekey/private',
  /** In memory, read-only for the agent: public certificates. */
  publicDir: '/var/run/sidekey/public',
  bundleFile: '/var/run/sidekey/public/ca-bundle.pem',
  trustStoreFile: '/var/run/sidekey/public/ca-bundle.jks',
} as const;

export const SIDECAR_VOLUMES = {
  token: 'sidekey-token',
  private: 'sidekey-private',
  public: 'sidekey-public',
} as const;

/** The environment that a sidecar in a cluster is bootstrapped by. */
export const SIDECAR_ENV = {
  storeUrl: 'SIDEKEY_STORE_URL',
  trustBundle: 'SIDEKEY_TRUST_BUNDLE',
  egress: 'SIDEKEY_EGRESS',
  /** Numbers with commas between; the i-th is led to `SIDECAR_PORTS.transparentBase + i`. Empty or unset: nothing is captured. */
  capturePorts: 'SIDEKEY_CAPTURE_PORTS',
  /** PEM of CAs that upstreams are verified by, besides the system's. */
  extraCa: 'SIDEKEY_EXTRA_CA',
} as const;

/** The role and tags that a pod's labels name; tags in order. */
export function podSubject(labels: Readonly<Record<string, string>> = {}): Pick<Session, 'role' | 'tags'> {
  const tags = Object.entries(labels).flatMap(([name, value]) =>
    name.startsWith(TAG_LABEL_PREFIX) && value !== 'false' ? [name.slice(TAG_LABEL_PREFIX.length)] : [],
  );
  const role = labels[ROLE_LABEL];
  return { ...(role && { role }), tags: tags.sort() };
}
