import { type Command, Option } from 'commander';
import type { FilterFlags } from '../auditFilter.ts';
import { Context } from '../context.ts';
import { EXIT } from '../exitCodes.ts';
import { helpTail } from '../help.ts';
import { collect, countOf, dirOption, outputOption } from '../options.ts';

interface Flags {
  dir?: string;
  output?: string;
}

const EXITS = [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.notRunning];

/** `audit`: who was given what, what became of it, and whether the record of it is whole. */
export function addAudit(program: Command): void {
  const audit = program
    .command('audit')
    .summary('ask, check, export and prune the audit')
    .description('Reads the audit, a hash chain of all that was issued, used, refused and changed, and checks it.')
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['sidekey audit query --credential openai-key --since 10:00 --until 10:05', 'who used it, and for what'],
          ['sidekey audit tail -f', 'who gets what, as it happens'],
          ['sidekey audit verify', 'nothing edited, left out or cut off'],
        ],
        exits: [...EXITS, EXIT.refused],
      }),
    );
  addTail(audit);
  addQuery(audit);
  addVerify(audit);
  addExport(audit);
  addPrune(audit);
  addRotateKey(audit);
}

function addTail(audit: Command): void {
  audit
    .command('tail')
    .description(
      'Prints the last entries of the audit, one line for each use and whatever else happened. With -o json, the entries as they are.',
    )
    .option('-f, --follow', 'go on with what comes')
    .addOption(new Option('-n, --lines <COUNT>', 'how many of the last entries').default('20'))
    .addOption(dirOption())
    .addOption(outputOption())
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['sidekey audit tail -f', ''],
          ['sidekey audit tail -n 1000000 -o json > audit.ndjson', 'all of it'],
        ],
        exits: EXITS,
      }),
    )
    .action(async (flags: Flags & { follow?: boolean; lines: string }) => {
      const { tailAudit } = await import('../commands/audit.ts');
      await tailAudit(new Context(flags), { follow: flags.follow ?? false, lines: countOf(flags.lines) });
    });
}

function addQuery(audit: Command): void {
  const query = audit
    .command('query')
    .description(
      'Finds what happened: each use with the pod, the person who asked for it, the request, and when its lease was issued.',
    );
  for (const option of filterOptions()) query.addOption(option);
  query
    .addOption(new Option('--limit <COUNT>', 'at most so many').default('1000'))
    .addOption(dirOption())
    .addOption(outputOption('table'))
    .addHelpText(
      'after',
      helpTail({
        about: [
          'All that is asked for must hold. Paths are templates: what looks like an identifier is {id}, and queries are never on record.',
          'Equal requests within a second are one line with a count, unless the Credential says audit: Strict.',
        ].join('\n'),
        examples: [
          [
            'sidekey audit query --credential openai-key --since 10:00 --until 10:05',
            'today, by the clock of this machine',
          ],
          ['sidekey audit query --since 1h --refusal any', 'what was refused in the last hour'],
          ['sidekey audit query --pod agent-7 --status 4xx -o json', ''],
        ],
        exits: EXITS,
      }),
    )
    .action(async (flags: Flags & FilterFlags & { limit: string }) => {
      const { queryCommand } = await import('../commands/auditQuery.ts');
      await queryCommand(new Context(flags), flags, countOf(flags.limit));
    });
}

function addVerify(audit: Command): void {
  audit
    .command('verify')
    .description(
      'Reads the whole audit and checks its hash chain against the signed heads of the store and of .sidekey/audit.head.',
    )
    .argument('[FILE...]', 'exports as JSON lines, to be checked without the store: the parts of one in their order')
    .option('--head <FILE>', 'a head that was kept elsewhere, as JSON; may be repeated', collect)
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about: [
          'While nothing runs, the store is started for the moment. A chain that was pruned begins at a signed checkpoint, which is said.',
          'Whoever can write the database and .sidekey/audit.head can still cut the end off: keep heads elsewhere, such as by an export.',
          'Of FILE it is said what the chain and the heads that are given tell, and what they cannot: without a head, whether its end is gone.',
        ].join('\n'),
        examples: [
          ['sidekey audit verify', ''],
          ['sidekey audit verify -o json | jq .head > head.json', 'keep this elsewhere'],
          ['sidekey audit verify --head head.json', 'nothing that was there then is gone'],
          ['sidekey audit verify audit.jsonl --head head.json', 'an export, on any machine'],
        ],
        exits: [...EXITS, EXIT.refused],
      }),
    )
    .action(async (files: string[], flags: Flags & { head?: string[] }) => {
      if (files.length > 0) {
        const { verifyFiles } = await import('../commands/auditVerifyFiles.ts');
        await verifyFiles(new Context(flags), files, flags.head ?? []);
        return;
      }
      const { verify } = await import('../commands/audit.ts');
      await verify(new Context(flags), flags.head ?? []);
    });
}

function addExport(audit: Command): void {
  const exporting = audit
    .command('export')
    .description('Writes the audit for other systems.')
    .addOption(
      new Option('--format <FORMAT>', 'jsonl: the entries themselves; cef: ArcSight CEF; ocsf: OCSF 1.3.0 events')
        .choices(['jsonl', 'cef', 'ocsf'])
        .default('jsonl'),
    )
    .option('-o, --output <FILE>', 'where to, for its owner alone; standard output without it');
  for (const option of filterOptions()) exporting.addOption(option);
  exporting
    .addOption(dirOption())
    .addHelpText(
      'after',
      helpTail({
        about: [
          'jsonl has each entry that has something to do with what is asked for, as a whole: with no filter it can be verified elsewhere.',
          'To send the audit somewhere as it grows, see `exports` of .sidekey/audit.yaml (docs/audit.md).',
        ].join('\n'),
        examples: [
          ['sidekey audit export --output audit.jsonl', 'all of it'],
          ['sidekey audit export --format cef --since 24h', ''],
          ['sidekey audit export --format ocsf --credential stripe-key --output stripe.json', ''],
        ],
        exits: EXITS,
      }),
    )
    .action(async (flags: FilterFlags & { dir?: string; format: 'jsonl' | 'cef' | 'ocsf'; output?: string }) => {
      const { exportCommand } = await import('../commands/auditExport.ts');
      await exportCommand(new Context({ dir: flags.dir }), flags, flags.format, flags.output);
    });
}

function addPrune(audit: Command): void {
  audit
    .command('prune')
    .description('Forgets old entries for good. The chain begins at a signed checkpoint then, and verifies from there.')
    .requiredOption('--before <TIME>', 'entries from then on stay, such as 2026-01-01 or 90d')
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about: 'Pruning is on record itself. `retention` of .sidekey/audit.yaml does it by itself, once an hour.',
        examples: [
          ['sidekey audit export --output old.jsonl && sidekey audit prune --before 90d', 'keep a copy'],
          ['sidekey audit prune --before 2026-01-01', ''],
        ],
        exits: EXITS,
      }),
    )
    .action(async (flags: Flags & { before: string }) => {
      const { pruneCommand } = await import('../commands/auditUpkeep.ts');
      await pruneCommand(new Context(flags), flags.before);
    });
}

function addRotateKey(audit: Command): void {
  audit
    .command('rotate-key')
    .description('Signs the audit with a new key from now on. The old key vouches for it, so old heads still verify.')
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText('after', helpTail({ examples: [['sidekey audit rotate-key', '']], exits: EXITS }))
    .action(async (flags: Flags) => {
      const { rotateKeyCommand } = await import('../commands/auditUpkeep.ts');
      await rotateKeyCommand(new Context(flags));
    });
}

function filterOptions(): Option[] {
  return [
    new Option('--since <TIME>', 'from then on: RFC 3339, a date, a time of today, or how long ago (15m, 24h, 7d)'),
    new Option('--until <TIME>', 'until then'),
    new Option('--kind <KIND>', 'such as use, lease.issued or lease.refused'),
    new Option('--credential <NAME>', 'NAME in any namespace, or NS/NAME'),
    new Option('--integration <NAME>', 'likewise'),
    new Option('--session <ID>', 'ID of the session'),
    new Option('--lease <ID>', 'ID of the lease'),
    new Option('--pod <POD>', 'name or UID of the pod'),
    new Option('-n, --namespace <NS>', 'namespace of the agent'),
    new Option('--service-account <SA>', 'service account of the agent'),
    new Option('--role <ROLE>', 'role of the agent'),
    new Option('--tag <TAG>', 'tag of the agent'),
    new Option('--requester <WHO>', 'who asked for the agent'),
    new Option('--authority <HOST>', 'HOST or HOST:PORT that was called'),
    new Option('--status <STATUS>', 'such as 403 or 4xx'),
    new Option('--refusal <CODE>', 'code of a refusal, or any'),
    new Option('--request <ID>', 'ID of the request'),
  ];
}
