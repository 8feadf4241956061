import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const POLL_MS = 20;

/** A process, told apart from a later one with the same number by when it started. */
export interface RunningProcess {
  pid: number;
  /** In ticks since the machine started (proc_pid_stat(5), field 22); empty where there is no /proc. */
  startTicks: string;
}

export function runningProcess(pid: number): RunningProcess {
  return { pid, startTicks: statOf(pid)?.startTicks ?? '' };
}

export function isRunning({ pid, startTicks }: RunningProcess): boolean {
  if (startTicks === '') return answersSignals(pid);
  const stat = statOf(pid);
  return stat !== undefined && stat.state !== 'Z' && stat.startTicks === startTicks;
}

/** Asks it to end, makes it after `graceMs`, and waits until it is gone. Does nothing to a process that only has the same number. */
export async function end(target: RunningProcess, graceMs: number): Promise<void> {
  if (!isRunning(target)) return;
  signal(target.pid, graceMs > 0 ? 'SIGTERM' : 'SIGKILL');
  let killAtMs = performance.now() + graceMs;
  while (isRunning(target)) {
    if (performance.now() > killAtMs) {
      signal(target.pid, 'SIGKILL');
      killAtMs = Number.POSITIVE_INFINITY;
    }
    await delay(POLL_MS);
  }
}

/** The first that a process has started and that still is (proc_pid_children(5)). */
export function childOf(pid: number): number | undefined {
  try {
    const [first] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    return first ? Number(first) : undefined;
  } catch {
    return undefined;
  }
}

function statOf(pid: number): { state: string; startTicks: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may itself have parentheses and spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0]!, startTicks: fields[19]! };
  } catch {
    return undefined;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
