import { SessionsQuery } from '../../api/revocationSchema.ts';
import type { Store } from '../core.ts';
import { parse } from './http.ts';

/** Ends the sessions that a query names, if there are any: whoever says so twice, or late, is not wrong. @throws MalformedRequest */
export async function endSessions(
  { identities, sessions }: Pick<Store, 'identities' | 'sessions'>,
  query: unknown,
  reason: string,
): Promise<void> {
  const which = parse(SessionsQuery, query);
  if ('pod' in which) {
    await sessions.endPod(which.pod, reason);
    return;
  }
  const session = identities.session(which.session);
  if (session !== undefined) await sessions.end(session, reason);
}
