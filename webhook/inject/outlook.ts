import { type Subject, subjectsMatch } from '../../api/subjectsMatch.ts';
import type { KnownIntegration, NamespaceObjects } from './settings.ts';

/** The Integrations that are for such a pod as things are now; the store decides anew whenever something changes. */
export function integrationsFor({ integrations }: NamespaceObjects, subject: Subject): KnownIntegration[] {
  return [...integrations.values()].filter(({ subjects }) => subjectsMatch(subjects, subject));
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
