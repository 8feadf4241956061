import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Whether contenders get a core of their own; with a single core everything shares it. */
const PINNED = availableParallelism() > 1 && existsSync('/usr/bin/taskset');
/** Where contenders run, and where load generator and upstream run. */
export const CORES = { contender: '0', rest: '1' } as const;

const running = new Set<Child>();

/** A process of the bench, on one core, ended by its pid. */
export class Child {
  readonly process: ChildProcess;
  readonly startedNs: bigint;
  #said = '';

  private constructor(process: ChildProcess, startedNs: bigint) {
    this.process = process;
    this.startedNs = startedNs;
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#said = (this.#said + text).slice(-4_000);
      });
    }
    running.add(this);
    process.once('exit', () => running.delete(this));
    process.once('error', () => running.delete(this));
  }

  /** `control`: with a socket pair as its file descriptor 3. */
  static start(
    core: keyof typeof CORES,
    command: string,
    args: readonly string[],
    options: { control?: boolean } = {},
  ): Child {
    const [file, all] = pinned(core, command, args);
    // Everything here is on loopback: what the machine sends elsewhere through a proxy is no matter.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name)));
    const startedNs = process.hrtime.bigint();
    const stdio = options.control
      ? (['ignore', 'pipe', 'pipe', 'pipe'] as const)
      : (['ignore', 'pipe', 'pipe'] as const);
    return new Child(spawn(file, all, { env, stdio: [...stdio] }), startedNs);
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  /** The last of what it wrote, for the report of a failure. */
  get said(): string {
    return this.#said.trim();
  }

  get ended(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null || this.process.pid === undefined;
  }

  async stop(): Promise<void> {
    if (this.ended) return;
    const exit = once(this.process, 'exit');
    // nginx and Envoy drain on SIGTERM; nobody is waiting for them here.
    const force = setTimeout(() => this.killTree(), 1_000);
    this.process.kill('SIGTERM');
    await exit;
    clearTimeout(force);
  }

  killTree(): void {
    if (this.ended) return;
    for (const pid of processTree(this.pid).reverse()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
  }
}

/** The command with the tool in front that keeps it on its core. */
export function pinned(core: keyof typeof CORES, command: string, args: readonly string[]): [string, string[]] {
  return PINNED ? ['taskset', ['-c', CORES[core], command, ...args]] : [command, [...args]];
}

/** Puts the bench itself, with what it starts otherwise (the store), on the core of the load generator. */
export function pinSelf(): void {
  if (PINNED) execFileSync('taskset', ['-a', '-c', '-p', CORES.rest, String(process.pid)], { stdio: 'ignore' });
}

/** For the end of the bench, also one by Ctrl-C: nothing that it started is left. */
export function killChildren(): void {
  for (const child of running) child.killTree();
}

/** The process and all that came of it, parents first. */
export function processTree(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const parent = Number(/^PPid:\s+(\d+)$/m.exec(readProc(`/proc/${entry}/status`))?.[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
  }
  const tree = [root];
  for (let index = 0; index < tree.length; index++) tree.push(...(children.get(tree[index]!) ?? []));
  return tree;
}

/** Resident memory of the processes in MB (pages they share count once for each), now or at its highest since the last reset. */
export function residentMB(pids: readonly number[], which: 'VmRSS' | 'VmHWM'): number {
  let kB = 0;
  for (const pid of pids)
    kB += Number(new RegExp(`^${which}:\\s+(\\d+) kB$`, 'm').exec(readProc(`/proc/${pid}/status`))?.[1] ?? 0);
  return (kB * 1_024) / 1e6;
}

/** Sets the highest resident memory back to what it is now (proc_pid_clear_refs(5)). */
export function resetPeaks(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      writeFileSync(`/proc/${pid}/clear_refs`, '5');
    } catch {
      // Kernels without it leave the peak since the start, which is no lower.
    }
  }
}

function readProc(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
