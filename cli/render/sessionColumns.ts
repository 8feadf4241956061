import type { Session } from '../../api/session.ts';

/** What tables of sessions begin with. */
export const SESSION_COLUMNS = ['SESSION', 'NAMESPACE', 'ROLE', 'TAGS', 'SERVICEACCOUNT', 'REQUESTER'] as const;

/** The cells of SESSION_COLUMNS. */
export function sessionCells(session: Omit<Session, 'startedAt'>): string[] {
  const { id, namespace, role, tags, serviceAccount, requester } = session;
  return [id, namespace, role ?? '-', tags.join(',') || '-', serviceAccount, requester];
}
