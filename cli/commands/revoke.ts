import type { Revocation, RevocationAnswer, Selector } from '../../api/revocation.ts';
import { AdminClient } from '../adminClient.ts';
import type { Context } from '../context.ts';
import { findFolder } from '../folder.ts';
import { SESSION_COLUMNS, sessionCells } from '../render/sessionColumns.ts';
import { age, count, table } from '../render/table.ts';
import { printable } from '../terminal.ts';

/** Takes access away, or tells what that would hit. */
export async function revoke(
  context: Context,
  selector: Selector,
  { dryRun = false, reason }: { dryRun?: boolean; reason?: string },
): Promise<void> {
  const request = { selector, dryRun, ...(reason !== undefined && { reason }) };
  const answer = await new AdminClient(findFolder(context)).revoke(request);
  context.result(answer, () => answerText(answer));
}

/** What stands until it is lifted. */
export async function listRevocations(context: Context): Promise<void> {
  const revocations = await new AdminClient(findFolder(context)).revocations();
  context.result(revocations, () => {
    if (revocations.length === 0) return 'nothing is revoked';
    const nowMs = Date.now();
    const rows = revocations.map(({ at, by, id, reason }) => [
      id,
      `${age(nowMs - Date.parse(at))} ago`,
      by,
      printable(reason) || '-',
    ]);
    return table(['ID', 'MADE', 'BY', 'REASON'], rows);
  });
}

export async function liftRevocation(context: Context, id: string): Promise<void> {
  const lifted: Revocation = await new AdminClient(findFolder(context)).liftRevocation(id);
  context.result({ ...lifted, lifted: true }, () => `${lifted.id} is lifted`);
}

function answerText(answer: RevocationAnswer): string {
  const { already, dryRun, leases, revocation, sessions } = answer;
  const hit = `${count(answer.sessionCount, 'session')} and ${count(answer.leaseCount, 'lease')}`;
  const lines = [said()];
  if (sessions.length > 0) {
    lines.push(table(SESSION_COLUMNS, sessions.map(sessionCells)));
  }
  if (leases.length > 0) {
    const rows = leases.map((lease) => [
      lease.id,
      lease.session,
      lease.credential,
      String(lease.version),
      lease.expiresAt,
    ]);
    lines.push(table(['LEASE', 'SESSION', 'CREDENTIAL', 'VERSION', 'EXPIRES'], rows));
  }
  const more = answer.sessionCount - sessions.length + answer.leaseCount - leases.length;
  if (more > 0) lines.push(`and ${more} more`);
  if (!dryRun && revocation !== undefined) lines.push(`to give it back: sidekey revoke lift ${revocation.id}`);
  return lines.join('\n\n');

  function said(): string {
    const what = revocation?.id ?? 'it';
    if (dryRun) return `nothing was changed; ${what} ${already ? 'is revoked already' : `would hit ${hit}`}`;
    return already ? `${what} was revoked before` : `${revocation?.id ?? ''} revoked: ${hit}`.trimStart();
  }
}
