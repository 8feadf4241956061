/** What a revocation stands for: exactly one lease, session or pod, or all sessions that match. */
export type Selector =
  | { lease: string }
  /** Of a pod: it then stands against the pod, whose sidecar would begin another session. */
  | { session: string }
  /** UID of the pod. */
  | { pod: string }
  /** Without a namespace: in all of them. */
  | { role: string; namespace?: string }
  | { tag: string; namespace?: string }
  | { serviceAccount: string; namespace: string }
  | { namespace: string }
  /** `namespace/name`. */
  | { credential: string }
  | { everything: true };

/** What is withdrawn until it is lifted. A lease, or a session of no pod, that was revoked stays so, and is not in the list. */
export interface Revocation {
  /** Says what it stands for, such as `tag:llm` or `role:coder@team`: to revoke the same once more changes nothing. */
  id: string;
  selector: Selector;
  /** RFC 3339. */
  at: string;
  by: string;
  reason: string;
}

export interface RevocationRequest {
  selector: Selector;
  reason?: string;
  /** Tells what it would hit, and changes nothing. */
  dryRun?: boolean;
}

export interface RevokedSession {
  id: string;
  namespace: string;
  serviceAccount: string;
  role?: string;
  tags: string[];
  requester: string;
}

export interface RevokedLease {
  id: string;
  session: string;
  /** `namespace/name` */
  credential: string;
  version: number;
  /** RFC 3339. */
  expiresAt: string;
}

export interface RevocationAnswer {
  dryRun: boolean;
  /** It was so before. */
  already: boolean;
  /** Absent for a lease, and for a session that is of no pod: those need no lifting, for they cannot be lifted. */
  revocation?: Revocation;
  /** How many living sessions it hits, and the first of them. */
  sessionCount: number;
  sessions: RevokedSession[];
  /** How many running leases end by it, and the first of them. */
  leaseCount: number;
  leases: RevokedLease[];
}

/** What a selector is called: in lists, in refusals, and to lift it. */
export function selectorId(selector: Selector): string {
  if ('everything' in selector) return 'everything';
  if ('lease' in selector) return `lease:${selector.lease}`;
  if ('session' in selector) return `session:${selector.session}`;
  if ('pod' in selector) return `pod:${selector.pod}`;
  if ('credential' in selector) return `credential:${selector.credential}`;
  if ('serviceAccount' in selector) return `serviceaccount:${selector.serviceAccount}@${selector.namespace}`;
  if ('role' in selector) return `role:${selector.role}${within(selector.namespace)}`;
  if ('tag' in selector) return `tag:${selector.tag}${within(selector.namespace)}`;
  return `namespace:${selector.namespace}`;
}

function within(namespace: string | undefined): string {
  return namespace === undefined ? '' : `@${namespace}`;
}
