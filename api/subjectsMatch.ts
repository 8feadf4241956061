import type { Subjects } from './integration.ts';
import type { Session } from './session.ts';

/** Whom Integrations choose by. */
export type Subject = Pick<Session, 'role' | 'tags' | 'serviceAccount'>;

/** Whether an Integration with these subjects is for such a session: AND across the lists that are given, OR within one; no list at all matches nobody. */
export function subjectsMatch({ roles, serviceAccounts, tags }: Subjects, subject: Subject): boolean {
  if (tags === undefined && roles === undefined && serviceAccounts === undefined) return false;
  return (
    (tags === undefined || tags.some((tag) => subject.tags.includes(tag))) &&
    (roles === undefined || (subject.role !== undefined && roles.includes(subject.role))) &&
    (serviceAccounts === undefined || serviceAccounts.includes(subject.serviceAccount))
  );
}
