import { setTimeout as sleep } from 'node:timers/promises';
import type { KekSpec, PartMessage } from '../../api/bootstrap.ts';
import { errorCode, errorText } from '../../lib/errors.ts';
import { AdminClient } from '../adminClient.ts';
import type { Folder } from '../folder.ts';
import { logFile } from '../logs.ts';
import { endText, Part } from '../part.ts';
import type { StoreReady } from '../store.ts';
import { Backoff } from './backoff.ts';
import { type LogLine, PartLog } from './partLog.ts';

type Ready = Extract<PartMessage, { type: 'ready' }>;

export interface SupervisorEvents {
  /** A part came up, also again after a crash. */
  up(part: string, pid: number): void;
  down(part: string, why: string, retryMs: number): void;
  /** The store waits for its keys. */
  sealed(reason: { code: string; message: string }): void;
  log(part: string, line: LogLine): void;
}

/** Keeps a store and an operator running on a folder: starts them in order, and again when one crashes, with backoff. */
export class Supervisor {
  readonly #folder: Folder;
  readonly #env: NodeJS.ProcessEnv;
  readonly #events: SupervisorEvents;
  readonly #stopping = new AbortController();
  readonly #logs = new Map<string, PartLog>();
  readonly #running = new Map<string, Part>();
  readonly #loops: Promise<void>[] = [];
  #store: StoreReady | undefined;
  #port: number;

  readonly #anyPort: boolean;
  readonly #databaseUrl: string | undefined;
  readonly #kek: KekSpec | undefined;
  readonly #operator: boolean;
  #metricsPort: number | undefined;

  /** `anyPort`: whether another port will do where `port` is taken at the first start. */
  constructor(options: {
    folder: Folder;
    port: number;
    anyPort: boolean;
    databaseUrl: string | undefined;
    kek: KekSpec | undefined;
    metricsPort: number | undefined;
    /** Whether there is to be one. */
    operator: boolean;
    env: NodeJS.ProcessEnv;
    events: SupervisorEvents;
  }) {
    this.#folder = options.folder;
    this.#port = options.port;
    this.#anyPort = options.anyPort;
    this.#databaseUrl = options.databaseUrl;
    this.#kek = options.kek;
    this.#metricsPort = options.metricsPort;
    this.#operator = options.operator;
    this.#env = options.env;
    this.#events = options.events;
  }

  /** Both up for the first time. @throws CliError if the first start of either fails: that is for a person to mend. */
  async start(): Promise<StoreReady> {
    const store = await this.#startStore();
    this.#keep('store', store, () => this.#startStore());
    if (this.#operator) this.#keep('operator', await this.#startOperator(), () => this.#startOperator());
    return this.#store!;
  }

  /** First the operator, then the store, which writes out what is left. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running.get('operator')?.stop();
    await this.#running.get('store')?.stop();
    await Promise.all(this.#loops);
    for (const log of this.#logs.values()) log.close();
  }

  kill(): void {
    for (const part of this.#running.values()) part.kill();
  }

  #keep(name: string, first: Part, start: () => Promise<Part>): void {
    this.#loops.push(this.#loop(name, first, start));
  }

  async #loop(name: string, first: Part, start: () => Promise<Part>): Promise<void> {
    const backoff = new Backoff();
    let part: Part | undefined = first;
    let why = '';
    while (!this.#stopping.signal.aborted) {
      const startedMs = performance.now();
      if (part !== undefined) why = endText(await part.ended);
      this.#running.delete(name);
      if (this.#stopping.signal.aborted) return;
      const retryMs = backoff.after(part === undefined ? 0 : performance.now() - startedMs);
      this.#events.down(name, why, retryMs);
      await sleep(retryMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
      if (this.#stopping.signal.aborted) return;
      try {
        part = await start();
      } catch (error) {
        part = undefined;
        why = errorText(error);
      }
    }
  }

  async #startStore(): Promise<Part> {
    const attempt = (listenPort: number) =>
      this.#run<StoreReady>({
        part: 'store',
        stateDir: this.#folder.files.dir,
        listenHost: '127.0.0.1',
        listenPort,
        metricsPort: this.#metricsPort,
        databaseUrl: this.#databaseUrl,
        kek: this.#kek,
      });
    const { part, ready } = await attempt(this.#port).catch((error: unknown) => {
      if (errorCode(error) === 'PortInUse' && this.#anyPort && this.#store === undefined) return attempt(0);
      throw error;
    });
    // Sidecars keep their address of the store: a restarted one must come back where it was.
    this.#port = Number(new URL(ready.storeUrl).port);
    this.#store = ready;
    this.#metricsPort = ready.metricsPort;
    return part;
  }

  async #startOperator(): Promise<Part> {
    const { joinToken, trustBundlePem = this.#store!.trustBundlePem } = await new AdminClient(this.#folder).joinToken({
      kind: 'operator',
    });
    const { part } = await this.#run<Ready>({
      part: 'operator',
      storeUrl: this.#store!.storeUrl,
      trustBundlePem,
      joinToken,
      folder: this.#folder.path,
      statusFile: this.#folder.files.status,
    });
    return part;
  }

  async #run<R extends Ready>(bootstrap: Parameters<typeof Part.start>[0]): Promise<{ part: Part; ready: R }> {
    const name = bootstrap.part;
    let log = this.#logs.get(name);
    if (log === undefined) {
      log = new PartLog(this.#folder.files, name, (line) => this.#events.log(name, line));
      this.#logs.set(name, log);
    }
    const started = await Part.start<R>(bootstrap, {
      log: log.follow,
      logPath: logFile(this.#folder.files, name),
      env: this.#env,
      sealed: (reason) => this.#events.sealed(reason),
    });
    if (this.#stopping.signal.aborted) {
      await started.part.stop();
      throw new Error('stopped meanwhile');
    }
    this.#running.set(name, started.part);
    this.#events.up(name, started.part.child.pid!);
    return started;
  }
}
