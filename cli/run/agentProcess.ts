import { spawn } from 'node:child_process';
import { errorCode } from '../../lib/errors.ts';
import { CliError } from '../errors.ts';
import { EXIT, signalExitCode } from '../exitCodes.ts';
import type { AgentSignals } from './agentSignals.ts';
import type { AgentUser } from './agentUser.ts';

export interface AgentOptions {
  signals: AgentSignals;
  command: readonly string[];
  env: Record<string, string>;
  user: AgentUser | undefined;
}

/**
 * Runs the agent in our place: same terminal, same standard streams, signals passed on. Resolves with the exit code that stands for
 * its end: its own, or 128 and the number of the signal.
 *
 * @throws CommandNotFound, CommandNotExecutable
 */
export async function runAgent(options: AgentOptions): Promise<number> {
  const [file = '', ...args] = options.command;
  const { user } = options;
  const child = spawn(file, args, {
    stdio: 'inherit',
    env: options.env,
    ...(user !== undefined && { uid: user.uid, gid: user.gid }),
  });
  options.signals.passTo(child);
  return new Promise<number>((resolve, reject) => {
    child.once('error', (error) => reject(startError(error, file, user)));
    child.once('exit', (code, signal) => resolve(signal === null ? (code ?? EXIT.failed) : signalExitCode(signal)));
  });
}

function startError(error: Error, file: string, user: AgentUser | undefined): CliError {
  const code = errorCode(error);
  if (code === 'ENOENT')
    return new CliError('CommandNotFound', `${file}: there is no such command`, {
      exit: EXIT.notFound,
      next: 'check its name and PATH; the command comes after --',
      cause: error,
    });
  const who = user === undefined ? '' : ` by ${user.name ?? 'user'} (uid ${user.uid})`;
  return new CliError('CommandNotExecutable', `${file} cannot be executed${who}: ${code ?? error.message}`, {
    exit: EXIT.notExecutable,
    next:
      user === undefined
        ? `make it executable: chmod +x ${file}`
        : 'started by root, an agent runs as another user (see sidekey run --help); install the command where that user can read it, or choose one with --user',
    cause: error,
  });
}
