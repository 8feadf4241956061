import type { Command } from 'commander';
import { Context } from '../context.ts';
import { EXIT } from '../exitCodes.ts';
import { helpTail } from '../help.ts';
import { dirOption, egressOf, outputOption, type SubjectFlags, subjectOf, subjectOptions } from '../options.ts';

interface Flags {
  dir?: string;
  output?: string;
}

const EXITS = [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.notRunning];

/** `get`, `explain` and `session`: what is so, and why. */
export function addInspection(program: Command): void {
  addGet(program);
  addExplain(program);
  addSession(program);
}

function addGet(program: Command): void {
  program
    .command('get')
    .summary('show what is in force and what is wrong')
    .description('Shows Credentials and Integrations with their conditions, and what is wrong in their files.')
    .argument('[KIND]', 'credentials or integrations; both if left out')
    .argument('[NAME]', 'one of them')
    .option('-n, --namespace <NS>', 'only of this namespace')
    .addOption(dirOption())
    .addOption(outputOption('yaml', 'wide'))
    .addHelpText(
      'after',
      helpTail({
        about: 'While `sidekey up` does not run, it shows the last state and how old that is.',
        examples: [
          ['sidekey get', ''],
          ['sidekey get credentials -o wide', 'with placeholders and files'],
          ['sidekey get integration openai -o json', ''],
        ],
        exits: EXITS,
      }),
    )
    .action(async (kind: string | undefined, name: string | undefined, flags: Flags & { namespace?: string }) => {
      const { get } = await import('../commands/get.ts');
      get(new Context(flags), kind, name, flags.namespace);
    });
}

function addExplain(program: Command): void {
  const explain = program
    .command('explain')
    .summary('say what would happen to a request, and why')
    .description(
      'Says step by step what would become of a request, by the decision of the sidecar itself. Nothing needs to run.',
    )
    .argument('<METHOD>', 'such as GET')
    .argument('<URL>', 'such as https://api.openai.com/v1/models');
  for (const option of subjectOptions()) explain.addOption(option);
  explain
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about: 'It reads the YAML of the folder. Values of credentials are neither needed nor shown.',
        examples: [
          ['sidekey explain GET https://api.openai.com/v1/models --tag llm', ''],
          ['sidekey explain DELETE https://api.github.com/repos/o/r --role coder', 'exit 4 if it is refused'],
          ['sidekey explain GET https://example.com/ --egress closed', ''],
        ],
        exits: [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.refused],
      }),
    )
    .action(async (method: string, url: string, flags: Flags & SubjectFlags) => {
      const { explain: run } = await import('../commands/explain.ts');
      await run(new Context(flags), method, url, { subject: subjectOf(flags), egress: egressOf(flags) });
    });
}

/** Also of `kubectl sidekey`. */
export function addSession(program: Command): void {
  const session = program
    .command('session')
    .summary('show and end sessions')
    .description('Shows the sessions of running agents, and ends them.')
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['sidekey session list', ''],
          ['sidekey session end ID', 'at once'],
        ],
        exits: EXITS,
      }),
    );
  session
    .command('list')
    .description('Lists the sessions of running agents: who they are, who asked for them, what they hold.')
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText('after', helpTail({ examples: [['sidekey session list', '']], exits: EXITS }))
    .action(async (flags: Flags) => {
      const { listSessions } = await import('../commands/session.ts');
      await listSessions(new Context(flags));
    });
  session
    .command('end')
    .description('Ends a session at once: its leases are revoked, and requests of its agent are refused.')
    .argument('<ID>', 'as `sidekey session list` shows it')
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about:
          'In a cluster the sidecar of a pod that lives on begins another one; what keeps it out is `revoke session ID`.',
        examples: [['sidekey session end 3f0c…', '']],
        exits: EXITS,
      }),
    )
    .action(async (id: string, flags: Flags) => {
      const { endSession } = await import('../commands/session.ts');
      await endSession(new Context(flags), id);
    });
}
