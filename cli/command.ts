import { type Command, CommanderError } from 'commander';
import { Context } from './context.ts';
import { CliError, usageError } from './errors.ts';
import { EXIT } from './exitCodes.ts';
import { createProgram } from './program.ts';

/** Runs the `sidekey` command to its end, or `kubectl sidekey` if that is how it was called. Returns its exit code. */
export async function command(args: readonly string[], plugin = false): Promise<number> {
  let exitCode: number = EXIT.ok;
  if (plugin) {
    const { takeClusterFlags } = await import('./cluster/flags.ts');
    const { createKubectlProgram } = await import('./kubectlProgram.ts');
    const { flags, rest } = takeClusterFlags(args);
    return parse(createKubectlProgram(flags), rest, () => exitCode, 'kubectl sidekey');
  }
  const program = createProgram((code) => {
    exitCode = code;
  });
  return parse(program, args, () => exitCode);
}

/** `name`: how the command was called. */
async function parse(
  program: Command,
  args: readonly string[],
  exitCode: () => number,
  name = 'sidekey',
): Promise<number> {
  try {
    await program.parseAsync(args, { from: 'user' });
    return exitCode();
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok; // Help or version, printed by then.
    const code = new Context({ output: asksForJson(args) ? 'json' : undefined }).fail(readable(error, args, name));
    return isRun(args) && !OF_THE_COMMAND.has(code) ? EXIT.runFailed : code;
  }
}

/** What `run` says of the command itself rather than of us. */
const OF_THE_COMMAND: ReadonlySet<number> = new Set([EXIT.notExecutable, EXIT.notFound]);

function readable(error: unknown, args: readonly string[], name: string): unknown {
  if (!(error instanceof CommanderError)) return error;
  if (error.code === 'commander.help') return usageError('a command is missing', `see ${name} --help`);
  if (error.code === 'commander.unknownCommand') return usageError(plain(error), `see ${name} --help`);
  const words = args.filter((arg) => /^[a-z]+$/.test(arg)).slice(0, isGroup(args[0]) ? 2 : 1);
  return new CliError('Usage', plain(error), {
    exit: EXIT.usage,
    next: `see ${[name, ...words, '--help'].join(' ')}`,
  });
}

function plain(error: CommanderError): string {
  return error.message.replace(/^error: /, '').replace(/\n+/g, ' ');
}

function isGroup(word: string | undefined): boolean {
  return (
    word === 'credential' ||
    word === 'session' ||
    word === 'audit' ||
    word === 'revoke' ||
    word === 'kek' ||
    word === 'ca'
  );
}

function isRun(args: readonly string[]): boolean {
  return args[0] === 'run';
}

/** Also where the arguments did not parse. */
function asksForJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  const own = end < 0 ? args : args.slice(0, end);
  return own.some(
    (arg, index) =>
      arg === '-ojson' || arg === '--output=json' || (arg === 'json' && /^(-o|--output)$/.test(own[index - 1] ?? '')),
  );
}
