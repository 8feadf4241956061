import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type { KekSpec, PartMessage, StoreBootstrap, StoreKubernetes } from '../../api/bootstrap.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { ensureKekFile } from '../../store/vault/kekFile.ts';

const MAIN = new URL('../../store/main.ts', import.meta.url).pathname;

interface StoreOptions {
  port?: number;
  /** Whether a key file is made. */
  key?: boolean;
  kek?: KekSpec;
  databaseUrl?: string;
  kubernetes?: StoreKubernetes;
  /** The script of the store, if not its sources. */
  main?: string;
  /** Beside our own environment. */
  env?: Record<string, string>;
  /** Told each time that the store says it is sealed, before it is ready. */
  sealed?: (reason: { code: string; message: string }, child: ChildProcess) => void;
}

/** A store as its parent sees it: a process, bootstrapped on file descriptor 3. */
export class StoreProcess {
  readonly stateDir: string;
  readonly child: ChildProcess;
  readonly storeUrl: string;
  readonly trustBundlePem: string;
  /** What it has logged. */
  readonly log: string[];

  private constructor(options: {
    stateDir: string;
    child: ChildProcess;
    ready: { storeUrl: string; trustBundlePem: string };
    log: string[];
  }) {
    this.stateDir = options.stateDir;
    this.child = options.child;
    this.storeUrl = options.ready.storeUrl;
    this.trustBundlePem = options.ready.trustBundlePem;
    this.log = options.log;
  }

  /** Starts a store on the state directory, with a new key file if it is the first time. @throws StoreFailed */
  static async start(stateDir: string, options: StoreOptions = {}): Promise<StoreProcess> {
    if (options.key !== false && options.kek === undefined) ensureKekFile(stateFiles(stateDir));
    const child = spawn(process.execPath, [options.main ?? MAIN], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      ...(options.env && { env: { ...process.env, ...options.env } }),
    });
    const log: string[] = [];
    child.stderr!.setEncoding('utf8').on('data', (text: string) => log.push(text));
    const bootstrap: StoreBootstrap = {
      part: 'store',
      stateDir,
      listenHost: '127.0.0.1',
      listenPort: options.port ?? 0,
      ...(options.kek && { kek: options.kek }),
      databaseUrl: options.databaseUrl,
      ...(options.kubernetes && { kubernetes: options.kubernetes }),
    };
    const control = child.stdio[3] as Duplex;
    control.on('error', () => {});
    control.write(`${JSON.stringify(bootstrap)}\n`);
    const messages = messagesOf(control);
    let message = await messages.next();
    while (message?.type === 'sealed') {
      options.sealed?.(message, child);
      message = await messages.next();
    }
    if (message?.type === 'ready' && 'storeUrl' in message)
      return new StoreProcess({ stateDir, child, ready: message, log });
    if (child.exitCode === null) await once(child, 'exit');
    if (message?.type === 'failed') throw new StoreFailed(message.code, message.message);
    throw new StoreFailed('NoAnswer', log.join(''));
  }

  get adminSocket(): string {
    return stateFiles(this.stateDir).adminSocket;
  }

  /** Ends it as a power switch would. */
  async kill(): Promise<void> {
    await this.#end(() => this.child.kill('SIGKILL'));
  }

  /** Asks it to end. */
  async stop(): Promise<number | null> {
    await this.#end(() => this.child.kill('SIGTERM'));
    return this.child.exitCode;
  }

  async #end(signal: () => void): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, 'exit');
    signal();
    await exit;
  }
}

/** A store that did not start, with what it told its parent. */
export class StoreFailed extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** What it says, one after the other; undefined when it is gone. */
function messagesOf(control: Duplex): { next(): Promise<PartMessage | undefined> } {
  let text = '';
  let closed = false;
  let wake = () => {};
  control.on('data', (chunk: Buffer) => {
    text += chunk;
    wake();
  });
  control.once('close', () => {
    closed = true;
    wake();
  });
  const next = async () => {
    while (!text.includes('\n') && !closed) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    const end = text.indexOf('\n');
    if (end < 0) return undefined;
    const line = text.slice(0, end);
    text = text.slice(end + 1);
    return JSON.parse(line);
  };
  return { next };
}
