import { constants } from 'node:os';

/** What the exit code of a command says; every help text lists those that it uses. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  refused: 4,
  /** Only `run`: Sidekey itself failed, so that the agent's own codes stay its own (as env, timeout and docker do). */
  runFailed: 125,
  /** Only `run`: the command was found but cannot be executed. */
  notExecutable: 126,
  /** Only `run`: there is no such command. */
  notFound: 127,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What a shell adds to the number of the signal that ended a command. */
const SIGNAL_BASE = 128;

/** As a shell tells that a signal ended a command. */
export function signalExitCode(signal: NodeJS.Signals): number {
  return SIGNAL_BASE + (constants.signals[signal] ?? 0);
}
