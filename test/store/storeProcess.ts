import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import type { PartMessage, StoreBootstrap } from '../../api/bootstrap.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { ensureKekFile } from '../../store/vault/kekFile.ts';

const MAIN = new URL('../../store/main.ts', import.meta.url).pathname;

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
  static async start(
    stateDir: string,
    options: { port?: number; key?: boolean; databaseUrl?: string } = {},
  ): Promise<StoreProcess> {
    if (options.key !== false) ensureKekFile(stateFiles(stateDir));
    const child = spawn(process.execPath, [MAIN], { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
    const log: string[] = [];
    child.stderr!.setEncoding('utf8').on('data', (text: string) => log.push(text));
    const bootstrap: StoreBootstrap = {
      part: 'store',
      stateDir,
      listenHost: '127.0.0.1',
      listenPort: options.port ?? 0,
      databaseUrl: options.databaseUrl,
    };
    const control = child.stdio[3] as Duplex;
    control.on('error', () => {});
    control.write(`${JSON.stringify(bootstrap)}\n`);
    const message = await firstMessage(control);
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

async function firstMessage(control: Duplex): Promise<PartMessage | undefined> {
  let text = '';
  for await (const chunk of control.iterator({ destroyOnReturn: false })) {
    text += chunk;
    if (text.includes('\n')) return JSON.parse(text);
  }
  return undefined;
}
