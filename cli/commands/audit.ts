import { existsSync, readFileSync } from 'node:fs';
import type { AuditEntry, AuditHead } from '../../api/admin.ts';
import { type AuditVerdict, verifyAudit } from '../../lib/auditVerify.ts';
import { AdminClient } from '../adminClient.ts';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import { type Folder, findFolder } from '../folder.ts';
import { count } from '../render/table.ts';
import { withStore } from '../store.ts';
import { printable, withProgress } from '../terminal.ts';

/** Prints the last entries of the audit, and what comes after if asked to. */
export async function tailAudit(context: Context, options: { follow: boolean; lines: number }): Promise<void> {
  const folder = findFolder(context);
  if (options.follow) {
    const admin = new AdminClient(folder);
    const head = await admin.auditHead();
    await show(context, admin.audit({ after: Math.max(0, head.seq - options.lines), follow: true }));
    return;
  }
  await withStore(context, folder, async (admin) => {
    const head = await admin.auditHead();
    await show(context, admin.audit({ after: Math.max(0, head.seq - options.lines) }));
  });
}

async function show(context: Context, entries: AsyncIterable<AuditEntry>): Promise<void> {
  for await (const entry of entries) context.print(context.json ? JSON.stringify(entry) : lineOf(context, entry));
}

/** `12  2026-01-02T03:04:05.678Z  lease.issued  credential=default/openai-key …` */
function lineOf(context: Context, { seq, at, event }: AuditEntry): string {
  const { kind, ...details } = event;
  const words = Object.entries(details)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${typeof value === 'string' ? printable(value) : JSON.stringify(value)}`);
  return `${String(seq).padStart(6)}  ${context.paint('dim', at)}  ${context.paint('bold', kind.padEnd(20))}  ${words.join(' ')}`;
}

/** Reads the whole audit and checks its chain and signed heads. @throws AuditBroken */
export async function verify(context: Context): Promise<void> {
  const folder = findFolder(context);
  const kept = keptHead(folder);
  const verdict = await withProgress(context.terminal, 'reading the audit', () =>
    withStore(context, folder, async (admin) => {
      const heads = [await admin.auditHead(), ...kept];
      return { ...(await verifyAudit(admin.audit(), heads)), head: heads[0]! };
    }),
  ).catch((error: unknown) => {
    throw truncated(error) ?? error;
  });
  const { head, ...rest } = verdict;
  context.result({ ...rest, ok: rest.problems.length === 0, head }, () => verdictText(context, rest, head));
  if (rest.problems.length > 0)
    throw new CliError('AuditBroken', `the audit is not what was written: ${count(rest.problems.length, 'problem')}`, {
      exit: EXIT.refused,
      next: `keep a copy of ${folder.files.database} and ${folder.files.auditHead} before anything else, and find out who could write them`,
    });
}

function verdictText(context: Context, verdict: AuditVerdict, head: AuditHead): string {
  const sound = `${context.paint('green', '✓')} ${count(verdict.entries, 'entry').replace('entrys', 'entries')}, unbroken up to the head signed at ${head.at} (entry ${head.seq})`;
  if (verdict.problems.length === 0) return sound;
  return verdict.problems
    .map(({ seq, message }) => `${context.paint('red', '✗')} entry ${seq}: ${printable(message)}`)
    .join('\n');
}

/** The head that was last written beside the database. */
function keptHead(folder: Folder): AuditHead[] {
  const path = folder.files.auditHead;
  if (!existsSync(path)) return [];
  try {
    return [JSON.parse(readFileSync(path, 'utf8'))];
  } catch {
    throw new CliError('AuditBroken', `${path} is damaged`, {
      exit: EXIT.refused,
      next: 'put it back from a backup; the audit cannot be checked against being cut off without it',
    });
  }
}

/** A store that does not start on an audit which was cut off is a verdict too. */
function truncated(error: unknown): CliError | undefined {
  if (!(error instanceof CliError) || (error.code !== 'AuditTruncated' && error.code !== 'DatabaseDamaged'))
    return undefined;
  return new CliError(error.code, error.message, { exit: EXIT.refused, ...(error.next && { next: error.next }) });
}
