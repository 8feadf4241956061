import { AdminClient } from '../adminClient.ts';
import type { Context } from '../context.ts';
import { findFolder } from '../folder.ts';
import { SESSION_COLUMNS, sessionCells } from '../render/sessionColumns.ts';
import { age, table } from '../render/table.ts';

export async function listSessions(context: Context): Promise<void> {
  const sessions = await new AdminClient(findFolder(context)).sessions();
  context.result(sessions, () => {
    if (sessions.length === 0) return 'no sessions; `sidekey run -- CMD` starts one';
    const nowMs = Date.now();
    const rows = sessions.map((session) => [
      ...sessionCells(session),
      String(session.leases),
      `${age(nowMs - Date.parse(session.startedAt))}`,
      `${age(nowMs - Date.parse(session.lastSeenAt))} ago`,
    ]);
    return table([...SESSION_COLUMNS, 'LEASES', 'AGE', 'SEEN'], rows);
  });
}

/** Ends a session at once: its leases are revoked and its agent's requests refused. */
export async function endSession(context: Context, id: string): Promise<void> {
  await new AdminClient(findFolder(context)).endSession(id);
  context.result({ id, ended: true }, () => `session ${id} ended`);
}
