import { SessionsQuery } from '../../api/revocationSchema.ts';
import type { Store } from '../core.ts';
import { parse } from './http.ts';

/** Ends the sessions that a query names, if there are any: whoever says so twice, or late, is not wrong. @throws MalformedRequest */
export async function endSessions(
  { identities, repository, sessions }: Pick<Store, 'identities' | 'repository' | 'sessions'>,
  query: unknown,
  reason: string,
): Promise<void> {
  const which = parse(SessionsQuery, query);
  // It may have begun at another replica a moment ago.
  await repository.caughtUp();
  if ('pod' in which) {
    await sessions.endPod(which.pod, reason);
    return;
  }
  const session = identities.session(which.session);
  if (session !== undefined) await sessions.end(session, reason);
}
