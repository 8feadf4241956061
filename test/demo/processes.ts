import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** How long anything in the demo may take before it counts as hung. */
const TIMEOUT_MS = 20_000;
const STOP_MS = 5_000;
/** A terminal's Ctrl-C goes to all processes at once, and we may hear of the end of another before our own signal. */
const HEARSAY_MS = 200;
/** Exit codes from here on stand for a signal. */
const SIGNALLED = 128;

export interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The processes of the demo: whatever happens, `stop` leaves none behind. */
export class Processes {
  readonly #running = new Set<ChildProcess>();
  readonly #env: NodeJS.ProcessEnv;
  readonly #cwd: string;
  #stopped = false;

  constructor(options: { env: NodeJS.ProcessEnv; cwd: string }) {
    this.#env = options.env;
    this.#cwd = options.cwd;
  }

  /** Runs a command to its end. */
  async run(
    command: readonly string[],
    options: { input?: string; env?: NodeJS.ProcessEnv; cwd?: string } = {},
  ): Promise<Result> {
    const child = this.#spawn(command, options);
    let stdout = '';
    let stderr = '';
    child.stdout!.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr!.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.stdin!.end(options.input ?? '');
    const timer = setTimeout(() => child.kill('SIGKILL'), TIMEOUT_MS);
    const [code] = (await once(child, 'close')) as [number | null];
    clearTimeout(timer);
    if (code === null || code > SIGNALLED) await sleep(HEARSAY_MS);
    return { code, stdout, stderr };
  }

  /** Starts a command that is talked to line by line. */
  talk(command: readonly string[], options: { env?: NodeJS.ProcessEnv; cwd?: string } = {}): Conversation {
    const child = this.#spawn(command, options);
    let stderr = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const next = async (): Promise<string> => {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${command.join(' ')} said nothing in time\n${stderr}`)), TIMEOUT_MS);
      });
      const { value, done } = await Promise.race([lines.next(), late]).finally(() => clearTimeout(timer));
      if (done === true) {
        await sleep(HEARSAY_MS);
        throw new Error(`${command.join(' ')} ended\n${stderr}`);
      }
      return value as string;
    };
    return {
      pid: child.pid!,
      next,
      say: (line) => {
        child.stdin!.write(`${line}\n`);
      },
      stop: () => stop(child),
    };
  }

  /** Ends what runs; from then on nothing is started. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#running].map(stop));
  }

  #spawn(command: readonly string[], options: { env?: NodeJS.ProcessEnv; cwd?: string }): ChildProcess {
    if (this.#stopped) throw new Error('it was stopped');
    const [program, ...args] = command;
    const child = spawn(program!, args, {
      cwd: options.cwd ?? this.#cwd,
      env: { ...this.#env, ...options.env },
      stdio: 'pipe',
    });
    this.#running.add(child);
    child.stdin!.on('error', () => {}); // It ended before it read everything; its exit code tells.
    child.once('close', () => this.#running.delete(child));
    return child;
  }
}

export interface Conversation {
  pid: number;
  /** @throws Error with what it wrote to standard error, if it ends or says nothing. */
  next(): Promise<string>;
  say(line: string): void;
  stop(): Promise<void>;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await closed;
  clearTimeout(timer);
}
