import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { AuditCheckpoint, AuditEntry, AuditHead } from '../../api/admin.ts';
import { SOLE_AUDIT_CHAIN } from '../../lib/auditChain.ts';
import { verifyAudit } from '../../lib/auditVerify.ts';
import { errorText } from '../../lib/errors.ts';
import type { Context } from '../context.ts';
import { CliError } from '../errors.ts';
import { EXIT } from '../exitCodes.ts';
import { count } from '../render/table.ts';
import { printable } from '../terminal.ts';
import { problemsText, readHead } from './audit.ts';

/** What the files have of one chain. */
interface ChainFacts {
  chain: string;
  first: number;
  last: number;
  /** `cut`: what came before the first entry is not in the files, and no checkpoint vouches for where they begin. */
  begins: 'first' | 'checkpoint' | 'cut';
  /** Entry up to which a head vouches for the chain; absent: none does. */
  signedTo?: number;
}

interface Scan {
  chains: Map<string, { first: AuditEntry; last: number; checkpoints: AuditCheckpoint[] }>;
  heads: AuditHead[];
}

/** Checks exported JSON lines without a store, file after file as one export. @throws AuditBroken, Usage */
export async function verifyFiles(
  context: Context,
  files: readonly string[],
  headFiles: readonly string[],
): Promise<void> {
  const paths = files.map((file) => resolve(context.cwd, file));
  const { chains, heads } = await scanned(paths);
  heads.push(...headFiles.map((file) => readHead(resolve(context.cwd, file))));
  const begins = new Map<string, { seq: number; hash: string }>();
  const checkpoints: AuditCheckpoint[] = [];
  const facts = [...chains].map(([chain, { first, last, checkpoints: told }]): ChainFacts => {
    const checkpoint = told.findLast(({ seq }) => seq === first.seq - 1);
    if (first.seq > 1 && checkpoint !== undefined) checkpoints.push(checkpoint);
    else if (first.seq > 1) begins.set(chain, { seq: first.seq - 1, hash: first.previousHash });
    const signed = heads.filter((head) => chainOf(head) === chain && head.seq >= first.seq).map(({ seq }) => seq);
    return {
      chain,
      first: first.seq,
      last,
      begins: first.seq === 1 ? 'first' : checkpoint === undefined ? 'cut' : 'checkpoint',
      ...(signed.length > 0 && { signedTo: Math.max(...signed) }),
    };
  });
  const { entries, problems } = await verifyAudit(entriesOf(paths), heads, checkpoints, begins);
  const ok = problems.length === 0;
  context.result({ entries, problems, ok, chains: facts }, () =>
    ok
      ? [
          `${context.paint('green', '✓')} ${entries === 1 ? '1 entry' : `${entries} entries`}, none edited, left out or moved`,
          ...facts.flatMap(factLines),
        ].join('\n')
      : problemsText(context, problems),
  );
  if (!ok)
    throw new CliError('AuditBroken', `the export is not what was written: ${count(problems.length, 'problem')}`, {
      exit: EXIT.refused,
      next: 'was it made with a filter (--since, --credential, …)? Such a one has gaps; else compare with `sidekey audit verify` at the store',
    });
}

function factLines({ chain, first, last, begins, signedTo }: ChainFacts): string[] {
  const name = `  ${printable(chain)}: entries ${first} to ${last}`;
  const start = {
    first: 'from its beginning',
    checkpoint: 'from a signed checkpoint; what is before was pruned',
    cut: 'what is before is not here, and nothing here tells whether it was taken away',
  }[begins];
  const end =
    signedTo === undefined
      ? 'no signed head is at hand, so entries at the end may be gone, and all of it may have been made anew: name a head with --head'
      : signedTo < last
        ? `signed up to entry ${signedTo}; of what comes after only the chain tells`
        : 'signed to its end';
  return [`${name}, ${start}`, `    ${end}`];
}

async function scanned(paths: readonly string[]): Promise<Scan> {
  const scan: Scan = { chains: new Map(), heads: [] };
  for await (const line of linesOf(paths)) {
    if (!('event' in line)) {
      scan.heads.push(line);
      continue;
    }
    const chain = chainOf(line);
    const known = scan.chains.get(chain) ?? { first: line, last: line.seq, checkpoints: [] };
    known.last = line.seq;
    const { kind, checkpoint } = line.event;
    if (kind === 'audit.pruned' && typeof checkpoint === 'object' && checkpoint !== null)
      known.checkpoints.push(checkpoint as AuditCheckpoint);
    scan.chains.set(chain, known);
  }
  if (scan.chains.size === 0) throw broken(`${paths.join(', ')}: there is no entry in it`);
  return scan;
}

async function* entriesOf(paths: readonly string[]): AsyncGenerator<AuditEntry> {
  for await (const line of linesOf(paths)) if ('event' in line) yield line;
}

/** Entries, and heads where somebody has put them in. */
async function* linesOf(paths: readonly string[]): AsyncGenerator<AuditEntry | AuditHead> {
  for (const path of paths) {
    let number = 0;
    try {
      for await (const text of createInterface({
        input: createReadStream(path),
        crlfDelay: Number.POSITIVE_INFINITY,
      })) {
        number += 1;
        if (text !== '') yield lineOf(text, `${path}, line ${number}`);
      }
    } catch (error) {
      if (error instanceof CliError) throw error;
      throw new CliError('Unreadable', `${path} cannot be read: ${errorText(error)}`);
    }
  }
}

function lineOf(text: string, where: string): AuditEntry | AuditHead {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw broken(`${where} is no JSON: it was cut off or edited, or the export is of another format`);
  }
  const { seq, hash, event, signature } = (value ?? {}) as Partial<AuditEntry & AuditHead>;
  const isHead = typeof signature === 'string';
  const isEntry = typeof event === 'object' && event !== null && typeof event.kind === 'string';
  if (!Number.isSafeInteger(seq) || typeof hash !== 'string' || (!isHead && !isEntry))
    throw broken(`${where} is no entry of an audit`);
  return value as AuditEntry | AuditHead;
}

function chainOf({ chain = SOLE_AUDIT_CHAIN }: { chain?: string }): string {
  return chain;
}

function broken(message: string): CliError {
  return new CliError('AuditBroken', message, {
    exit: EXIT.refused,
    next: 'export it anew, as jsonl and without a filter',
  });
}
