import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditEntry, AuditHead } from '../../api/admin.ts';
import { type AuditRow, rowsOf } from '../../lib/audit/row.ts';
import { type AuditProblem, type AuditVerdict, verifyAudit } from '../../lib/auditVerify.ts';
import { AdminClient } from '../adminClient.ts';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import { type Folder, findFolder } from '../folder.ts';
import { callOf, credentialOf, resultOf } from '../render/auditRow.ts';
import { count } from '../render/table.ts';
import { withStore } from '../store.ts';
import { printable, withProgress } from '../terminal.ts';

const NEW_CHAINS_MS = 5_000;
const DETAIL_CHARACTERS = 80;

/** Prints the last entries of the audit, of all chains in order of time, and what comes after if asked to. */
export async function tailAudit(context: Context, options: { follow: boolean; lines: number }): Promise<void> {
  const folder = findFolder(context);
  if (!options.follow) {
    await withStore(context, folder, async (admin) => show(context, (await lastEntries(admin, options.lines)).entries));
    return;
  }
  const admin = new AdminClient(folder);
  const { entries, ends } = await lastEntries(admin, options.lines);
  show(context, entries);
  const follow = async (chain: string, after: number) => {
    for await (const entry of admin.audit({ chain, after, follow: true })) show(context, [entry]);
  };
  const following = [...ends].map(([chain, after]) => follow(chain, after));
  await Promise.race([...following, followNewChains(admin, new Set(ends.keys()), follow)]);
}

/** Of replicas that start meanwhile. */
async function followNewChains(
  admin: AdminClient,
  known: Set<string>,
  follow: (chain: string, after: number) => Promise<void>,
): Promise<void> {
  const following: Promise<void>[] = [];
  for (;;) {
    await Promise.race([sleep(NEW_CHAINS_MS), ...following]);
    for (const { chain } of await admin.auditChains()) {
      if (known.has(chain)) continue;
      known.add(chain);
      following.push(follow(chain, 0));
    }
  }
}

/** The last entries of all chains together, and how far each chain was read. */
async function lastEntries(
  admin: AdminClient,
  count: number,
): Promise<{ entries: AuditEntry[]; ends: Map<string, number> }> {
  const entries: AuditEntry[] = [];
  const ends = new Map<string, number>();
  for (const { chain, head } of await admin.auditChains()) {
    const end = head?.seq ?? 0;
    ends.set(chain, end);
    for await (const entry of admin.audit({ chain, after: Math.max(0, end - count) })) {
      if (entry.seq <= end) entries.push(entry);
    }
  }
  entries.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  return { entries: count === 0 ? [] : entries.slice(-count), ends };
}

function show(context: Context, entries: readonly AuditEntry[]): void {
  for (const entry of entries) {
    if (context.json) context.print(JSON.stringify(entry));
    else for (const row of rowsOf(entry)) context.print(lineOf(context, row));
  }
}

/** `2026-01-02T03:04:05.678Z  use  default/openai-key@1  GET api.openai.com/v1/models  200 (rule 1)  session=…` */
function lineOf(context: Context, row: AuditRow): string {
  const { at, count: times = 1, expiresAt, from, integration, kind, lease, pod, requester, role, session } = row;
  const said = {
    integration,
    requester,
    pod: pod?.name,
    role,
    session: session?.slice(0, 8),
    lease: lease?.slice(0, 8),
  };
  const rest = { ...said, by: row.by, from, expiresAt, ...row.details };
  const words = [
    ...[credentialOf(row), callOf(row), resultOf(row)].filter((word) => word !== '-'),
    ...(times > 1 ? [`×${times}`] : []),
    ...Object.entries(rest)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => `${key}=${typeof value === 'string' ? value : shortened(JSON.stringify(value))}`),
  ];
  const text = words.map((word) => printable(word).replaceAll('\n', '?')).join('  ');
  return `${context.paint('dim', at)}  ${context.paint('bold', kind.padEnd(18))}  ${text}`.trimEnd();
}

/** The whole of it is in the JSON. */
function shortened(text: string): string {
  return text.length <= DETAIL_CHARACTERS ? text : `${text.slice(0, DETAIL_CHARACTERS)}…`;
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
  if (verdict.problems.length > 0) return problemsText(context, verdict.problems);
  const entries = verdict.entries === 1 ? '1 entry' : `${verdict.entries} entries`;
  const ends = heads.map(({ at, chain, seq }) => `${chain === undefined ? '' : `${chain} `}${at} (entry ${seq})`);
  const begins = (verdict.checkpoints ?? []).map(
    ({ at, chain, pruned, seq }) =>
      `  ${chain === undefined ? 'it' : chain} begins after entry ${seq}: ${pruned} before it were pruned, the last time at ${at}`,
  );
  const sound = `${context.paint('green', '✓')} ${entries}, unbroken up to the head signed at ${ends.join(', ')}`;
  return [sound, ...begins].join('\n');
}

export function problemsText(context: Context, problems: readonly AuditProblem[]): string {
  return problems
    .map(({ chain, seq, message }) => {
      const where = chain === undefined ? '' : `chain ${printable(chain)}, `;
      return `${context.paint('red', '✗')} ${where}entry ${seq}: ${printable(message)}`;
    })
    .join('\n');
}

/** The head that was last written beside the database. */
function keptHead(folder: Folder): AuditHead[] {
  const path = folder.files.auditHead;
  return existsSync(path) ? [readHead(path)] : [];
}

/** @throws AuditBroken */
export function readHead(path: string): AuditHead {
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
