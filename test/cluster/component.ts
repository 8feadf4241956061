import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { end, isRunning, type RunningProcess, runningProcess } from './runningProcess.ts';

const LOG_TAIL_LINES = 15;

/** Where the components of one cluster run. */
export interface Surroundings {
  logDir: string;
  /** A network namespace of ip-netns(8), by its file. */
  netnsFile?: string | undefined;
  /** `cgroup.procs` of the cgroup that they and all their children are in. */
  cgroupProcsFile?: string | undefined;
  /** Whether they outlive the process that starts them; otherwise they end with it, however that ends. */
  kept?: boolean | undefined;
}

/** A long-running program of the cluster, logging to a file of its name. */
export class Component {
  readonly name: string;
  readonly process: RunningProcess;
  readonly #logFile: string;

  private constructor(name: string, running: RunningProcess, logFile: string) {
    this.name = name;
    this.process = running;
    this.#logFile = logFile;
  }

  static async start(
    name: string,
    command: readonly string[],
    surroundings: Surroundings,
    env: Record<string, string> = {},
  ): Promise<Component> {
    const { cgroupProcsFile, kept, logDir, netnsFile } = surroundings;
    const logFile = join(logDir, `${name}.log`);
    mkdirSync(dirname(logFile), { recursive: true });
    const log = openSync(logFile, 'a');
    const [program, ...args] = [
      // Not `ip netns exec`: that mounts another /sys, in which the kubelet finds no cgroups.
      ...(netnsFile === undefined ? [] : ['nsenter', `--net=${netnsFile}`]),
      ...(kept || process.platform !== 'linux' ? [] : ['setpriv', '--pdeathsig', 'KILL']),
      ...command,
    ];
    const child = spawn(program!, args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...env },
    });
    closeSync(log);
    await once(child, 'spawn');
    // Before its first child; those of a process stay in its cgroup.
    if (cgroupProcsFile !== undefined) writeFileSync(cgroupProcsFile, String(child.pid));
    child.unref();
    return new Component(name, runningProcess(child.pid!), logFile);
  }

  /** One that another process has started. */
  static resume(record: { name: string; process: RunningProcess }, { logDir }: Surroundings): Component {
    return new Component(record.name, record.process, join(logDir, `${record.name}.log`));
  }

  get running(): boolean {
    return isRunning(this.process);
  }

  /** The end of its log, for an error message. */
  get lastWords(): string {
    if (!existsSync(this.#logFile)) return '';
    return readFileSync(this.#logFile, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
  }

  /** `graceMs` 0 is what a power cut does. */
  stop(graceMs: number): Promise<void> {
    return end(this.process, graceMs);
  }
}
