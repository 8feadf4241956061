import type { Subjects } from '../../api/integration.ts';
import type { KnownIntegration, NamespaceObjects } from './settings.ts';

/** Whom Integrations choose by. */
export interface Subject {
  role?: string | undefined;
  tags: readonly string[];
  serviceAccount: string;
}

/** The Integrations that are for such a pod as things are now; the store decides anew whenever something changes. */
export function integrationsFor({ integrations }: NamespaceObjects, subject: Subject): KnownIntegration[] {
  return [...integrations.values()].filter(({ subjects }) => matches(subjects, subject));
}

/** What the author of a pod would otherwise find out by a 403: tags that lead nowhere, or nothing that is for the pod. */
export function outlook(
  { integrations }: NamespaceObjects,
  subject: Subject,
  found: readonly KnownIntegration[],
): string[] {
  const known = new Set([...integrations.values()].flatMap(({ subjects }) => subjects.tags ?? []));
  const lost = subject.tags.filter((tag) => !known.has(tag));
  if (lost.length > 0)
    return [
      `no Integration in this namespace matches ${lost.length === 1 ? 'tag' : 'tags'} ${lost.join(', ')} yet; it works once there is one`,
    ];
  if (found.length > 0) return [];
  const role = subject.role === undefined ? '' : `role ${subject.role}, `;
  return [
    `no Integration in this namespace is for this pod yet (${role}ServiceAccount ${subject.serviceAccount}); it gets credentials once there is one`,
  ];
}

/** Every list that is given must hold one of the subject's own, as store/grants.ts has it. */
function matches({ roles, serviceAccounts, tags }: Subjects, subject: Subject): boolean {
  if (tags === undefined && roles === undefined && serviceAccounts === undefined) return false;
  return (
    (tags === undefined || tags.some((tag) => subject.tags.includes(tag))) &&
    (roles === undefined || (subject.role !== undefined && roles.includes(subject.role))) &&
    (serviceAccounts === undefined || serviceAccounts.includes(subject.serviceAccount))
  );
}
