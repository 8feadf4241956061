import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { errorCode } from '../../lib/errors.ts';
import { CliError } from '../errors.ts';
import { EXIT, SIGNAL_BASE } from '../exitCodes.ts';
import type { AgentUser } from './agentUser.ts';

/** Passed on as they come. Signals that cannot be caught (KILL, STOP) end or stop us; the agent's proxy then goes with us. */
const PASSED_ON: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGWINCH',
  'SIGCONT',
];
/** What a terminal sends to the agent by itself, as it is in our process group: a second one would count twice. */
const FROM_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT', 'SIGWINCH']);

export interface AgentOptions {
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
  const off = passSignals(child);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', (error) => reject(startError(error, file, user)));
      child.once('exit', (code, signal) => {
        resolve(signal === null ? (code ?? EXIT.failed) : SIGNAL_BASE + (constants.signals[signal] ?? 0));
      });
    });
  } finally {
    off();
  }
}

function passSignals(child: ChildProcess): () => void {
  const terminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY === true);
  const handlers = PASSED_ON.map((signal) => {
    const handler = () => {
      if (!(terminal && FROM_TERMINAL.has(signal))) child.kill(signal);
    };
    process.on(signal, handler);
    return { signal, handler };
  });
  return () => {
    for (const { signal, handler } of handlers) process.off(signal, handler);
  };
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
