import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
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
export async function verify(context: Context, headFiles: readonly string[]): Promise<void> {
  const folder = findFolder(context);
  const kept = [...keptHead(folder), ...headFiles.map((file) => readHead(resolve(context.cwd, file)))];
  const verdict = await withProgress(context.terminal, 'reading the audit', () =>
    withStore(context, folder, (admin) => verdictOf(admin, kept)),
  ).catch((error: unknown) => {
    throw truncated(error) ?? error;
  });
  const { heads, ...rest } = verdict;
  const head = heads[0]!;
  const ok = rest.problems.length === 0;
  context.result({ ...rest, ok, head, ...(heads.length > 1 && { heads }) }, () => verdictText(context, rest, heads));
  if (rest.problems.length > 0)
    throw new CliError('AuditBroken', `the audit is not what was written: ${count(rest.problems.length, 'problem')}`, {
      exit: EXIT.refused,
      next: `keep a copy of ${folder.files.database} and ${folder.files.auditHead} before anything else, and find out who could write them`,
    });
}

/** Of all chains; read once more if one was pruned meanwhile. */
async function verdictOf(
  admin: AdminClient,
  kept: readonly AuditHead[],
): Promise<AuditVerdict & { heads: AuditHead[] }> {
  for (;;) {
    const chains = await admin.auditChains();
    const heads = chains.sort((a, b) => Number(b.own) - Number(a.own)).flatMap(({ head }) => head ?? []);
    const checkpoints = chains.flatMap(({ checkpoint }) => checkpoint ?? []);
    async function* entries() {
      for (const { chain } of chains) yield* admin.audit({ chain });
    }
    const verdict = await verifyAudit(entries(), [...heads, ...kept], checkpoints);
    const after = (await admin.auditChains()).flatMap(({ checkpoint }) => checkpoint?.seq ?? []);
    if (verdict.problems.length === 0 || after.join() === checkpoints.map(({ seq }) => seq).join())
      return { ...verdict, heads };
  }
}

function verdictText(context: Context, verdict: AuditVerdict, heads: readonly AuditHead[]): string {
  if (verdict.problems.length > 0)
    return verdict.problems
      .map(({ chain, seq, message }) => {
        const where = chain === undefined ? '' : `chain ${printable(chain)}, `;
        return `${context.paint('red', '✗')} ${where}entry ${seq}: ${printable(message)}`;
      })
      .join('\n');
  const entries = verdict.entries === 1 ? '1 entry' : `${verdict.entries} entries`;
  const ends = heads.map(({ at, chain, seq }) => `${chain === undefined ? '' : `${chain} `}${at} (entry ${seq})`);
  const begins = (verdict.checkpoints ?? []).map(
    ({ at, chain, pruned, seq }) =>
      `  ${chain === undefined ? 'it' : chain} begins after entry ${seq}: ${pruned} before it were pruned, the last time at ${at}`,
  );
  const sound = `${context.paint('green', '✓')} ${entries}, unbroken up to the head signed at ${ends.join(', ')}`;
  return [sound, ...begins].join('\n');
}

/** The head that was last written beside the database. */
function keptHead(folder: Folder): AuditHead[] {
  const path = folder.files.auditHead;
  return existsSync(path) ? [readHead(path)] : [];
}

function readHead(path: string): AuditHead {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
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
