import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { environment } from './environment.ts';
import { childOf, end, isRunning, type RunningProcess, runningProcess } from './runningProcess.ts';

const LOG_TAIL_LINES = 15;
const POLL_MS = 5;
const ENTRANCE_GRACE_MS = 2_000;

/** Where the components of one cluster run. */
export interface Surroundings {
  logDir: string;
  /** What is put before a command so that it runs elsewhere: nsenter(1) and its options. */
  enter?: readonly string[] | undefined;
  /** Whether they outlive the process that starts them; otherwise they end with it, however that ends. */
  kept?: boolean | undefined;
}

/** The command so that it ends with its parent, however that ends (prctl(2), PR_SET_PDEATHSIG). */
export function endingWithParent(command: readonly string[]): string[] {
  return process.platform === 'linux' ? ['setpriv', '--pdeathsig', 'KILL', ...command] : [...command];
}

/** What another process needs to know to end it. */
export interface ComponentRecord {
  name: string;
  process: RunningProcess;
  entrance?: RunningProcess | undefined;
}

/** A long-running program of the cluster, logging to a file of its name. */
export class Component {
  readonly name: string;
  readonly process: RunningProcess;
  /** nsenter, which ends when that has ended. */
  readonly entrance: RunningProcess | undefined;
  readonly #logFile: string;

  private constructor(record: ComponentRecord, logFile: string) {
    this.name = record.name;
    this.process = record.process;
    this.entrance = record.entrance;
    this.#logFile = logFile;
  }

  static async start(
    name: string,
    command: readonly string[],
    surroundings: Surroundings,
    env: Record<string, string> = {},
  ): Promise<Component> {
    const { enter, kept, logDir } = surroundings;
    const logFile = join(logDir, `${name}.log`);
    mkdirSync(dirname(logFile), { recursive: true });
    const log = openSync(logFile, 'a');
    // In a PID namespace nsenter is the parent of what runs there.
    const entered = enter === undefined ? command : [...enter, ...endingWithParent(command)];
    const [program, ...args] = kept ? entered : endingWithParent(entered);
    const child = spawn(program!, args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: environment(env),
    });
    closeSync(log);
    await once(child, 'spawn');
    child.unref();
    const own = runningProcess(child.pid!);
    if (enter === undefined) return new Component({ name, process: own }, logFile);
    return new Component({ name, process: runningProcess(await innerOf(child)), entrance: own }, logFile);
  }

  /** One that another process has started. */
  static resume(record: ComponentRecord, { logDir }: Surroundings): Component {
    return new Component(record, join(logDir, `${record.name}.log`));
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
  async stop(graceMs: number): Promise<void> {
    await end(this.process, graceMs);
    if (this.entrance !== undefined) await end(this.entrance, ENTRANCE_GRACE_MS);
  }
}

/** What nsenter has started: a signal to itself would not reach that. */
async function innerOf(nsenter: ChildProcess): Promise<number> {
  for (;;) {
    const inner = childOf(nsenter.pid!);
    if (inner !== undefined) return inner;
    if (nsenter.exitCode !== null || nsenter.signalCode !== null) return nsenter.pid!;
    await delay(POLL_MS);
  }
}
