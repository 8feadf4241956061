import type { Command } from 'commander';
import type { Access } from '../cluster/access.ts';
import { Context } from '../context.ts';
import { EXIT } from '../exitCodes.ts';
import { helpTail } from '../help.ts';
import { outputOption } from '../options.ts';

interface Flags {
  output?: string;
  namespace?: string;
}

type Open = () => Promise<Access>;

const EXITS = [EXIT.ok, EXIT.failed, EXIT.usage, EXIT.notRunning];
const NAMESPACE = ['-n, --namespace <NS>', 'namespace (default: that of the context)'] as const;

/** `get`, `explain`, `status`, `doctor` and `inject`: what a cluster has, and why it does what it does. */
export function addCluster(program: Command, open: Open): void {
  addGet(program, open);
  addExplain(program, open);
  addStatus(program, open);
  addDoctor(program, open);
  addInject(program, open);
}

function addGet(program: Command, open: Open): void {
  program
    .command('get')
    .summary('show what is in force and what is wrong')
    .description('Shows Credentials and Integrations with their conditions, and what to do where something is wrong.')
    .argument('[KIND]', 'credentials or integrations; both if left out')
    .argument('[NAME]', 'one of them')
    .option(...NAMESPACE)
    .option('-A, --all-namespaces', 'of every namespace')
    .addOption(outputOption('yaml', 'wide'))
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['kubectl sidekey get -n agents', ''],
          ['kubectl sidekey get credentials -A -o wide', 'with placeholders'],
        ],
        exits: EXITS,
      }),
    )
    .action(async (kind: string | undefined, name: string | undefined, flags: Flags & { allNamespaces?: boolean }) => {
      const { clusterGet } = await import('../commands/cluster/get.ts');
      await clusterGet(new Context(flags), await open(), kind, name, flags);
    });
}

function addExplain(program: Command, open: Open): void {
  program
    .command('explain')
    .summary("say what would happen to a pod's request, and why")
    .description("Says step by step what would become of a pod's request, by the decision of the sidecar itself.")
    .argument('<POD>', 'such as pod/researcher-7d9f')
    .argument('<METHOD>', 'such as GET')
    .argument('<URL>', 'such as https://api.openai.com/v1/models')
    .option(...NAMESPACE)
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about:
          'It goes by the labels that the pod has now, and by the egress that its sidecar was made with. Nothing is sent, and no Secret is read.',
        examples: [
          ['kubectl sidekey explain pod/researcher-7d9f GET https://api.openai.com/v1/models -n agents', ''],
          [
            'kubectl sidekey explain researcher-7d9f DELETE https://api.github.com/repos/o/r',
            'exit 4 if it is refused',
          ],
        ],
        exits: [...EXITS, EXIT.refused],
      }),
    )
    .action(async (pod: string, method: string, url: string, flags: Flags) => {
      const { clusterExplain } = await import('../commands/cluster/explain.ts');
      await clusterExplain(new Context(flags), await open(), pod, method, url, flags);
    });
}

function addStatus(program: Command, open: Open): void {
  program
    .command('status')
    .summary('show parts, objects and agents at a glance')
    .description('Shows whether store, operator and webhook are ready, and how many objects and agents there are.')
    .addOption(outputOption('yaml'))
    .addHelpText('after', helpTail({ examples: [['kubectl sidekey status', '']], exits: EXITS }))
    .action(async (flags: Flags) => {
      const { clusterStatus } = await import('../commands/cluster/status.ts');
      await clusterStatus(new Context(flags), await open());
    });
}

function addDoctor(program: Command, open: Open): void {
  program
    .command('doctor')
    .summary('look for what is known to go wrong')
    .description('Looks at versions, parts, CAs, the webhook, policies, Secrets and agent pods. Changes nothing.')
    .option('-n, --namespace <NS>', 'where a pod is tried (default: that of the context)')
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about:
          'It sends one pod through admission as a dry run. A store that is not ready is asked why through exec into its pod, if you may do that.',
        examples: [
          ['kubectl sidekey doctor', 'exit 4 if a check failed'],
          ['kubectl sidekey doctor -o json', 'for a program'],
        ],
        exits: [...EXITS, EXIT.refused],
      }),
    )
    .action(async (flags: Flags) => {
      const { clusterDoctor } = await import('../commands/cluster/doctor.ts');
      await clusterDoctor(new Context(flags), await open(), flags.namespace);
    });
}

function addInject(program: Command, open: Open): void {
  program
    .command('inject')
    .summary('show what the webhook would make of a pod')
    .description('Shows the pods of a file as the webhook would change them, as YAML or as a diff. Changes nothing.')
    .requiredOption('-f, --filename <FILE>', 'YAML of pods or workloads; - is standard input')
    .option('--diff', 'only what changes')
    .option(...NAMESPACE)
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['kubectl sidekey inject -f pod.yaml --diff', ''],
          ['kubectl sidekey inject -f deployment.yaml', 'the whole of it'],
        ],
        exits: EXITS,
      }),
    )
    .action(async (flags: Flags & { filename: string; diff?: boolean }) => {
      const { clusterInject } = await import('../commands/cluster/inject.ts');
      await clusterInject(new Context(flags), await open(), flags);
    });
}
