/** authentication.k8s.io/v1 UserInfo, as far as we read it. */
export interface UserInfo {
  username: string;
  groups?: readonly string[] | undefined;
}

/** Those of kube-controller-manager that make pods or what pods are made of. */
const CONTROLLERS = ['deployment', 'replicaset', 'statefulset', 'daemon-set', 'job', 'cronjob', 'replication'] as const;
const USERNAMES: readonly string[] = CONTROLLERS.map((name) => `system:serviceaccount:kube-system:${name}-controller`);
const GROUPS = ['system:serviceaccounts', 'system:serviceaccounts:kube-system'];
/** Where they all share one identity (--use-service-account-credentials=false). */
const MANAGER = 'system:kube-controller-manager';

/**
 * Whether what comes from this user was made from what others have asked for. By name and not by a pattern: other programs have
 * ServiceAccounts in kube-system too. A name with the groups that the API server gives it, which a certificate of somebody's does not have.
 */
export function isTrustedController({ groups = [], username }: UserInfo, further: readonly string[]): boolean {
  if (username === MANAGER || further.includes(username)) return true;
  return USERNAMES.includes(username) && GROUPS.every((group) => groups.includes(group));
}
