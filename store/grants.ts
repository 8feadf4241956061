import type { Grant } from '../api/grant.ts';
import { hostWithin } from '../api/host.ts';
import type { CredentialRecord, IntegrationRecord } from '../api/protocol.ts';
import type { Session } from '../api/session.ts';
import { subjectsMatch } from '../api/subjectsMatch.ts';

/** Who asks, as far as a grant depends on it. */
export type Subject = Pick<Session, 'namespace' | 'serviceAccount' | 'role' | 'tags'>;

export interface IntegrationObject {
  /** `namespace/name` */
  key: string;
  record: IntegrationRecord;
}

/**
 * Everything a session may use, by default nothing. Pure: the store decides leases by it, and `sidekey explain` calls it too.
 *
 * `credentials` maps `namespace/name` to the record; the order is that of `integrations`.
 */
export function grantsFor(
  session: Subject,
  integrations: Iterable<IntegrationObject>,
  credentials: ReadonlyMap<string, CredentialRecord>,
): Grant[] {
  const grants: Grant[] = [];
  for (const integration of integrations) {
    const grant = grantOf(session, integration, credentials.get(integration.record.credential));
    if (grant !== undefined) grants.push(grant);
  }
  return grants;
}

/** What one Integration grants the session: nothing unless it is of its namespace, for its kind, and within what its Credential allows. */
export function grantOf(
  session: Subject,
  integration: IntegrationObject,
  credential: CredentialRecord | undefined,
): Grant | undefined {
  const { key, record } = integration;
  const namespace = namespaceOf(key);
  if (namespace !== session.namespace || credential === undefined) return undefined;
  if (!subjectsMatch(record.subjects, session)) return undefined;
  if (!consumerAllowed(namespace, record.credential, credential)) return undefined;
  if (!record.hosts.every((host) => credential.hosts.some((outer) => hostWithin(host, outer)))) return undefined;
  const { subjects: _, ...grant } = record;
  return {
    integration: key,
    ...grant,
    ...(credential.auditStrict && { auditStrict: true }),
    ...(credential.maxUses !== undefined && { single: true }),
  };
}

function consumerAllowed(namespace: string, credentialKey: string, credential: CredentialRecord): boolean {
  return (
    namespaceOf(credentialKey) === namespace ||
    credential.consumerNamespaces.includes('*') ||
    credential.consumerNamespaces.includes(namespace)
  );
}

export function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf('/'));
}
