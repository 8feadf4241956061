import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { OperatorBootstrap, PartMessage, SidecarBootstrap, StoreBootstrap } from '../api/bootstrap.ts';
import { NODE_ARGS } from '../lib/nodeArgs.ts';
import { COMPILE_CACHE } from './compileCache.ts';
import { CliError } from './errors.ts';

type Bootstrap = StoreBootstrap | OperatorBootstrap | SidecarBootstrap;

/** How long a part may take to come up on a busy machine. */
const START_LIMIT_MS = 30_000;
/** How long it may take to stop before it is killed: longer than it drains. */
const STOP_LIMIT_MS = 6_000;

/**
 * Starts what its arguments say in its own place, with core dumps forbidden (setrlimit(2), RLIMIT_CORE): Node cannot set the limit of
 * itself, and prlimit(1) is for Linux alone.
 */
const NO_CORE_DUMP = 'ulimit -c 0 && exec "$0" "$@"';

export interface PartEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Why it never began. */
  error?: Error;
}

/** A store, an operator or a sidecar as its parent holds it: a process bootstrapped on file descriptor 3, which ends with its parent. */
export class Part {
  readonly name: Bootstrap['part'];
  readonly child: ChildProcess;
  readonly ended: Promise<PartEnd>;
  readonly #control: Duplex;

  private constructor(name: Bootstrap['part'], child: ChildProcess) {
    this.name = name;
    this.child = child;
    this.#control = child.stdio[3] as Duplex;
    this.#control.on('error', () => {}); // The part is gone; `ended` says so.
    this.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
      child.once('error', (error) => resolve({ code: null, signal: null, error }));
    });
  }

  /**
   * Starts a part and waits until it is ready. Its log goes to `log`: a file descriptor, or a callback for its streams.
   *
   * @throws CliError with the part's own code and message, and where its log is
   */
  static async start<Ready extends PartMessage & { type: 'ready' }>(
    bootstrap: Bootstrap,
    options: {
      log: number | ((stream: Readable) => void);
      logPath: string;
      env: NodeJS.ProcessEnv;
      /** A store that has to wait for its keys is waited for, with this told why; without it that is a failure. */
      sealed?: (reason: { code: string; message: string }) => void;
    },
  ): Promise<{ part: Part; ready: Ready }> {
    const log = typeof options.log === 'number' ? options.log : 'pipe';
    const child = spawn(
      '/bin/sh',
      ['-c', NO_CORE_DUMP, process.execPath, ...NODE_ARGS[bootstrap.part], mainOf(bootstrap.part)],
      {
        stdio: ['ignore', log, log, 'pipe'],
        env: partEnv(options.env),
        // A session of its own: Ctrl-C in the terminal is for the agent, and for us to pass on in order.
        detached: true,
      },
    );
    if (typeof options.log !== 'number') {
      options.log(child.stdout!);
      options.log(child.stderr!);
    }
    const part = new Part(bootstrap.part, child);
    part.#control.write(`${JSON.stringify(bootstrap)}\n`);
    const messages = part.#messages();
    let message = await messages.next(START_LIMIT_MS);
    while (message?.type === 'sealed' && options.sealed !== undefined) {
      options.sealed(message);
      message = await messages.next(undefined);
    }
    if (message?.type === 'ready') return { part, ready: message as Ready };
    await part.stop();
    const end = await part.ended;
    const why = end.error?.message ?? `it ended with ${endText(end)}`;
    const next = `its log: ${options.logPath}`;
    if (message?.type === 'sealed')
      throw new CliError('StoreSealed', `the store is sealed: ${message.message}`, { next });
    throw message?.type === 'failed'
      ? new CliError(message.code, `the ${part.name} did not start: ${message.message}`, { next })
      : new CliError('PartFailed', `the ${part.name} did not start: ${why}`, { next });
  }

  /** Asks it to end by closing its channel, as the end of this process would; kills it if it does not. */
  async stop(): Promise<void> {
    this.#control.destroy();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_LIMIT_MS);
    await this.ended;
    clearTimeout(timer);
  }

  kill(): void {
    this.child.kill('SIGKILL');
  }

  /** What it says, one after the other; undefined when it says nothing in time, or is gone. */
  #messages(): { next(limitMs: number | undefined): Promise<PartMessage | undefined> } {
    const control = this.#control;
    let text = '';
    let wake = () => {};
    let closed = false;
    control.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      wake();
    });
    // Also when the part dies: what it wrote before that is read first.
    control.once('close', () => {
      closed = true;
      wake();
    });
    const next = async (limitMs: number | undefined): Promise<PartMessage | undefined> => {
      const timer = limitMs === undefined ? undefined : setTimeout(() => control.destroy(), limitMs);
      while (!text.includes('\n') && !closed) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      clearTimeout(timer);
      const end = text.indexOf('\n');
      if (end < 0) return undefined;
      const line = text.slice(0, end);
      text = text.slice(end + 1);
      return JSON.parse(line);
    };
    return { next };
  }
}

/** `exit code 1` or `signal SIGKILL` */
export function endText({ code, signal }: PartEnd): string {
  return signal === null ? `exit code ${code}` : `signal ${signal}`;
}

/** Beside this file if it was bundled (rolldown.config.ts). */
function mainOf(part: Bootstrap['part']): string {
  const path = import.meta.url.endsWith('.mjs') ? `./${part}.mjs` : `../${part}/main.ts`;
  return fileURLToPath(new URL(path, import.meta.url));
}

/** Our environment without what would steer Node itself (the user's NODE_OPTIONS are meant for the agent) and the database's password. */
function partEnv(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = { ...env };
  for (const name of Object.keys(kept)) {
    if (
      /^NODE_(OPTIONS|DEBUG|REPL|INSPECT|V8_COVERAGE|PATH|COMPILE_CACHE)/.test(name) ||
      name === 'NODE_TLS_REJECT_UNAUTHORIZED' ||
      name === 'SIDEKEY_DATABASE_URL'
    )
      delete kept[name];
  }
  return { ...kept, NODE_COMPILE_CACHE: COMPILE_CACHE };
}
