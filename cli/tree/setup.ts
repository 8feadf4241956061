import type { Command } from 'commander';
import { Context } from '../context.ts';
import { EXIT } from '../exitCodes.ts';
import { helpTail } from '../help.ts';
import { collect, dirOption, namespaceOption, outputOption } from '../options.ts';

interface Flags {
  dir?: string;
  output?: string;
  namespace?: string;
}

const COMMON = [EXIT.ok, EXIT.failed, EXIT.usage];
const EXITS = [...COMMON, EXIT.notRunning];

/** `credential`, `init`, `import` and `completion`: what brings things in. */
export function addSetup(program: Command): void {
  addCredential(program);
  addInit(program);
  addImport(program);
  program
    .command('completion')
    .summary('print a completion script')
    .description('Prints a completion script for a shell.')
    .argument('<SHELL>', 'bash or zsh')
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['source <(sidekey completion bash)', 'in ~/.bashrc'],
          ['source <(sidekey completion zsh)', 'in ~/.zshrc, after compinit'],
        ],
        exits: COMMON,
      }),
    )
    .action(async (shell: string) => {
      const { completion } = await import('../commands/completion.ts');
      completion(new Context({}), program, shell);
    });
}

/** Also of `kubectl sidekey`. */
export function addCredential(program: Command): void {
  const credential = program
    .command('credential')
    .summary('set, list and remove values of credentials')
    .description('Sets, lists and removes the values of Credentials with source store.')
    .addHelpText(
      'after',
      helpTail({
        examples: [
          ['sidekey credential set openai-key', 'asks for the value, unseen'],
          ['sidekey credential set github-key < token.txt', 'from a file'],
          ['sidekey credential list', ''],
        ],
        exits: EXITS,
      }),
    );
  credential
    .command('set')
    .description('Gives a Credential with source store its value: typed unseen, or from standard input.')
    .argument('<NAME>', 'name of the Credential; it may follow later')
    // Refused with more than commander's word for it.
    .allowExcessArguments()
    .option('--field <FIELD>', 'field of the material (default: value); on a terminal it may be repeated', collect)
    .addOption(namespaceOption())
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about: [
          'The value never goes on the command line, which everybody on this machine can read. All that comes on standard input is the',
          'value, without one line break at its end. A new value takes effect in running agents at once. All fields of a Credential are set',
          'together. While nothing runs, the store is started for the moment.',
        ].join('\n'),
        examples: [
          ['sidekey credential set openai-key', 'asks for it'],
          ['pass show openai | sidekey credential set openai-key', 'from a password manager'],
          ['sidekey credential set datadog-key --field api --field app', 'two fields, each asked for'],
        ],
        exits: EXITS,
      }),
    )
    .action(async (name: string, flags: Flags & { field?: string[] }, command: Command) => {
      const { setCredential } = await import('../commands/credential.ts');
      await setCredential(new Context(flags), name, command.args.slice(1), flags);
    });
  credential
    .command('list')
    .description('Lists what the store holds: sources, versions, fields; never values.')
    .option('-n, --namespace <NS>', 'only of this namespace')
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText('after', helpTail({ examples: [['sidekey credential list', '']], exits: EXITS }))
    .action(async (flags: Flags) => {
      const { listCredentials } = await import('../commands/credential.ts');
      await listCredentials(new Context(flags), flags.namespace);
    });
  credential
    .command('rm')
    .description('Removes the value of a Credential from the store; leases of it end at once.')
    .argument('<NAME>', 'name of the Credential')
    .addOption(namespaceOption())
    .addOption(dirOption())
    .addOption(outputOption('yaml'))
    .addHelpText('after', helpTail({ examples: [['sidekey credential rm openai-key', '']], exits: EXITS }))
    .action(async (name: string, flags: Flags) => {
      const { removeCredential } = await import('../commands/credential.ts');
      await removeCredential(new Context(flags), name, flags.namespace);
    });
}

function addInit(program: Command): void {
  program
    .command('init')
    .summary('make a folder to start from')
    .description(
      'Makes a folder to start from: an OpenAI Credential and Integration with comments, a README and a .gitignore.',
    )
    .argument('[DIR]', 'the folder', '.')
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about: 'Nothing that is there already is overwritten.',
        examples: [
          ['sidekey init agents', ''],
          ['sidekey init', 'here'],
        ],
        exits: COMMON,
      }),
    )
    .action(async (dir: string, flags: Flags) => {
      const { init } = await import('../commands/init.ts');
      init(new Context(flags), dir);
    });
}

function addImport(program: Command): void {
  program
    .command('import')
    .summary('move the keys of a .env file into the store')
    .description(
      'Moves the API keys of a .env file into the store, and writes the objects to use them and a .env of placeholders.',
    )
    .argument('<FILE>', 'file of NAME=value lines, such as .env')
    .option('--dir <DIR>', 'folder for the objects (default: SIDEKEY_DIR, else here)')
    .option('--dry-run', 'only say what would be done')
    .option('--write-env <FILE>', 'where the .env of placeholders goes (default: FILE.sidekey)')
    .addOption(namespaceOption())
    .addOption(outputOption('yaml'))
    .addHelpText(
      'after',
      helpTail({
        about: [
          'Keys are known by the names of their variables and by how they begin. What is not known stays as it is, and is listed. The old',
          'file is not touched. Doing it again changes nothing; YAML that you have edited is kept.',
        ].join('\n'),
        examples: [
          ['sidekey import .env --dry-run', 'look first'],
          ['sidekey import .env --dir agents', ''],
          ['sidekey import prod.env --dir agents --write-env agent.env', ''],
        ],
        exits: EXITS,
      }),
    )
    .action(async (file: string, flags: Flags & { dryRun?: boolean; writeEnv?: string }) => {
      const { importEnv } = await import('../commands/import.ts');
      const { dryRun = false, namespace, writeEnv } = flags;
      await importEnv(new Context(flags), file, { dryRun, namespace, writeEnv });
    });
}
