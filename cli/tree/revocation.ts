import { type Command, Option } from 'commander';
import type { Selector } from '../../api/revocation.ts';
import { Context } from '../context.ts';
import { EXIT } from '../exitCodes.ts';
import { helpTail } from '../help.ts';
import { dirOption, outputOption } from '../options.ts';

interface Flags {
  dir?: string;
  output?: string;
  namespace?: string;
  reason?: string;
  dryRun?: boolean;
}

const EXITS = [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.notRunning];
/** As cli/options.ts has it. */
const DEFAULT_NAMESPACE = 'default';

interface Kind {
  name: string;
  description: string;
  argument?: [string, string];
  /** Whether it is narrowed by a namespace, and what that is unless it is given. */
  namespace?: 'all' | 'default';
  example: readonly [string, string];
  selector(argument: string, namespace: string | undefined): Selector;
}

const KINDS: readonly Kind[] = [
  {
    name: 'lease',
    description: 'Revokes one lease, for good: what runs under it is cut. The session may ask for another one.',
    argument: ['<ID>', 'as the audit shows it'],
    example: ['sidekey revoke lease 5f0c…', ''],
    selector: (lease) => ({ lease }),
  },
  {
    name: 'session',
    description: 'Ends one session, for good: its leases are revoked, and its agent has to be started anew.',
    argument: ['<ID>', 'as `sidekey session list` shows it'],
    example: ['sidekey revoke session 3f0c… --reason "left running"', ''],
    selector: (session) => ({ session }),
  },
  {
    name: 'pod',
    description: 'Ends the sessions of a pod, and refuses new ones until it is lifted.',
    argument: ['<UID>', 'metadata.uid of the pod'],
    example: ['sidekey revoke pod 0f8fad5b-d9cb-469f-a165-70867728950e', ''],
    selector: (pod) => ({ pod }),
  },
  {
    name: 'role',
    description: 'Takes every credential from the sessions of a role until it is lifted.',
    argument: ['<ROLE>', 'role of the agents'],
    namespace: 'all',
    example: ['sidekey revoke role coder -n team', 'in that namespace only'],
    selector: (role, namespace) => ({ role, ...(namespace !== undefined && { namespace }) }),
  },
  {
    name: 'tag',
    description: 'Takes every credential from the sessions with a tag until it is lifted.',
    argument: ['<TAG>', 'tag of the agents'],
    namespace: 'all',
    example: ['sidekey revoke tag llm --dry-run', 'whom it would hit'],
    selector: (tag, namespace) => ({ tag, ...(namespace !== undefined && { namespace }) }),
  },
  {
    name: 'serviceaccount',
    description: 'Takes every credential from the sessions of a service account until it is lifted.',
    argument: ['<NAME>', 'service account of the agents'],
    namespace: 'default',
    example: ['sidekey revoke serviceaccount builder -n team', ''],
    selector: (serviceAccount, namespace = DEFAULT_NAMESPACE) => ({ serviceAccount, namespace }),
  },
  {
    name: 'namespace',
    description: 'Takes every credential from the sessions of a namespace until it is lifted.',
    argument: ['<NAME>', 'namespace of the agents'],
    example: ['sidekey revoke namespace team --reason "incident 7"', ''],
    selector: (namespace) => ({ namespace }),
  },
  {
    name: 'credential',
    description: 'Takes one credential from every session until it is lifted.',
    argument: ['<NAME>', 'name of the Credential, or namespace/name'],
    namespace: 'default',
    example: ['sidekey revoke credential openai-key --reason "key leaked"', ''],
    selector: (name, namespace = DEFAULT_NAMESPACE) => ({
      credential: name.includes('/') ? name : `${namespace}/${name}`,
    }),
  },
  {
    name: 'everything',
    description: 'Takes every credential from every session until it is lifted.',
    example: ['sidekey revoke everything --reason "stop the world"', ''],
    selector: () => ({ everything: true }),
  },
];

/** `revoke`: takes access away, live, and gives it back. */
export function addRevocation(program: Command): void {
  const revoke = program
    .command('revoke')
    .summary('take access away at once, and give it back')
    .description(
      'Takes access away: sidecars are told within a second, their leases are given up, requests are refused with Revoked.',
    )
    .addHelpText(
      'after',
      helpTail({
        about:
          'Revocations are durable and on record in the audit; to make one twice is to make it once. They stand until they are lifted, except those of a lease or a session, which are for good.',
        examples: [
          ['sidekey revoke tag llm --dry-run', 'whom it would hit'],
          ['sidekey revoke credential openai-key --reason "key leaked"', ''],
          ['sidekey revoke list', 'what stands'],
          ['sidekey revoke lift credential:default/openai-key', ''],
        ],
        exits: EXITS,
      }),
    );
  for (const kind of KINDS) addKind(revoke, kind);
  revoke
    .command('list')
    .description('Lists the revocations that stand.')
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText('after', helpTail({ examples: [['sidekey revoke list', '']], exits: EXITS }))
    .action(async (flags: Flags) => {
      const { listRevocations } = await import('../commands/revoke.ts');
      await listRevocations(new Context(flags));
    });
  revoke
    .command('lift')
    .description('Gives back what a revocation took: sidecars are told within a second.')
    .argument('<ID>', 'as `sidekey revoke list` shows it')
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText('after', helpTail({ examples: [['sidekey revoke lift tag:llm', '']], exits: EXITS }))
    .action(async (id: string, flags: Flags) => {
      const { liftRevocation } = await import('../commands/revoke.ts');
      await liftRevocation(new Context(flags), id);
    });
}

function addKind(revoke: Command, { argument, description, example, name, namespace, selector }: Kind): void {
  const command = revoke.command(name).description(description);
  if (argument !== undefined) command.argument(...argument);
  if (namespace !== undefined) {
    const fallback = namespace === 'all' ? 'all' : DEFAULT_NAMESPACE;
    command.addOption(new Option('-n, --namespace <NS>', `namespace that is meant (default: ${fallback})`));
  }
  command
    .option('--reason <TEXT>', 'why, for the audit and the list')
    .option('--dry-run', 'list which sessions and leases it would hit, and change nothing')
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText('after', helpTail({ examples: [example], exits: EXITS }))
    .action(async (...given: unknown[]) => {
      const flags = (argument === undefined ? given[0] : given[1]) as Flags;
      const { revoke: run } = await import('../commands/revoke.ts');
      await run(new Context(flags), selector(argument === undefined ? '' : String(given[0]), flags.namespace), flags);
    });
}
