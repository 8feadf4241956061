import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { PartMessage, SidecarBootstrap } from '../../api/bootstrap.ts';
import type { CredentialRecord, IntegrationRecord } from '../../api/protocol.ts';
import { TestStore } from './testStore.ts';

const MAIN = new URL('../../sidecar/main.ts', import.meta.url).pathname;

export interface SidecarProcessOptions {
  /** Credential key → what differs from the smallest record, and its material (a text is the field `value`). */
  credentials?: Record<string, Partial<CredentialRecord> & { material?: string | Record<string, string> }>;
  /** Integration key → what differs from the smallest record. Upstreams on this machine need `allowedNetworks: LOOPBACK`. */
  integrations?: Record<string, Partial<IntegrationRecord>>;
  egress?: SidecarBootstrap['egress'];
  /** What upstreams are verified against besides the system's roots. */
  extraCaPem?: string;
  proxyPort?: number;
  healthPort?: number;
  env?: NodeJS.ProcessEnv;
  nodeArguments?: string[];
  /** Says something else than a parent would. */
  bootstrap?: Partial<SidecarBootstrap>;
  /** Uses this store, and leaves it running. */
  store?: TestStore;
}

/** `allowedNetworks` for upstreams on this machine: the sidecar resolves names under `.localhost` to it. */
export const LOOPBACK = ['127.0.0.0/8', '::1/128'];

/** A real sidecar process on a real store process, as `sidekey run` would start it. */
export class SidecarProcess {
  readonly store: TestStore;
  readonly child: ChildProcess;
  readonly proxyPort: number;
  readonly healthPort: number;
  /** What the agent has to trust. */
  readonly caPem: string;
  readonly bundleFile: string;
  /** What it has logged: JSON lines. */
  readonly log: string[];
  /** From spawn to its `ready`. */
  readonly startMs: number;
  readonly #ownStore: boolean;
  readonly #control: Duplex;

  private constructor(options: {
    store: TestStore;
    ownStore: boolean;
    started: Started;
    ready: { proxyPort: number; healthPort: number; caPem: string };
    bundleFile: string;
    startMs: number;
  }) {
    this.store = options.store;
    this.#ownStore = options.ownStore;
    this.child = options.started.child;
    this.#control = options.started.control;
    this.log = options.started.log;
    this.proxyPort = options.ready.proxyPort;
    this.healthPort = options.ready.healthPort;
    this.caPem = options.ready.caPem;
    this.bundleFile = options.bundleFile;
    this.startMs = options.startMs;
  }

  /** Tells the store what is given, then starts the sidecar. @throws SidecarFailed */
  static async start(options: SidecarProcessOptions = {}): Promise<SidecarProcess> {
    const store = options.store ?? (await TestStore.start());
    const ownStore = options.store === undefined;
    try {
      for (const [key, { material, ...changes }] of Object.entries(options.credentials ?? {})) {
        await store.credential(changes, key);
        if (material !== undefined) await store.material(material, key);
      }
      for (const [key, changes] of Object.entries(options.integrations ?? {})) await store.integration(changes, key);
      const bundleFile = join(store.dir, `bundle-${performance.now()}.pem`);
      const extraCaFile = join(store.dir, 'extra-ca.pem');
      if (options.extraCaPem !== undefined) writeFileSync(extraCaFile, options.extraCaPem);
      const bootstrap: SidecarBootstrap = {
        part: 'sidecar',
        ...(await store.bootstrap()),
        proxyPort: options.proxyPort ?? 0,
        healthPort: options.healthPort ?? 0,
        egress: options.egress ?? 'Open',
        bundleFile,
        ...(options.extraCaPem !== undefined && { extraCaFile }),
        ...options.bootstrap,
      };
      const atMs = performance.now();
      const started = spawnSidecar(options);
      const ready = await bootstrapped(started, bootstrap);
      const startMs = performance.now() - atMs;
      return new SidecarProcess({ store, ownStore, started, ready, bundleFile, startMs });
    } catch (error) {
      if (ownStore) await store.stop();
      throw error;
    }
  }

  /** The one session that runs now. */
  async sessionId(): Promise<string> {
    const [session] = await this.store.sessions();
    if (session === undefined) throw new Error('no session runs');
    return session.id;
  }

  async endSession(): Promise<void> {
    await this.store.endSession(await this.sessionId());
  }

  /** GET on the health port. */
  async health(path: '/healthz' | '/readyz' | '/metrics'): Promise<{ status: number; body: string }> {
    const answer = await fetch(`http://127.0.0.1:${this.healthPort}${path}`);
    return { status: answer.status, body: await answer.text() };
  }

  /** Resident memory, in MiB. */
  residentMiB(): number {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))?.[1]) / 1024;
  }

  /** Asks it to end; its exit code. */
  async stop(): Promise<number | null> {
    if (this.running) this.child.kill('SIGTERM');
    return this.exited();
  }

  /** As if the parent had died. */
  abandon(): void {
    this.#control.destroy();
  }

  async exited(): Promise<number | null> {
    if (this.running) await once(this.child, 'exit');
    return this.child.exitCode;
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Ends it at once, and the store if it is its own. */
  async close(): Promise<void> {
    if (this.running) this.child.kill('SIGKILL');
    await this.exited();
    if (this.#ownStore) await this.store.stop();
  }
}

/** A sidecar that did not start, with what it told its parent. */
export class SidecarFailed extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

interface Started {
  child: ChildProcess;
  control: Duplex;
  log: string[];
}

function spawnSidecar({ env, nodeArguments = [] }: SidecarProcessOptions): Started {
  const child = spawn(process.execPath, [...nodeArguments, MAIN], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    env: env ?? { PATH: process.env.PATH },
  });
  const log: string[] = [];
  child.stderr!.setEncoding('utf8').on('data', (text: string) => log.push(text));
  const control = child.stdio[3] as Duplex;
  control.on('error', () => {});
  return { child, control, log };
}

async function bootstrapped({ child, control, log }: Started, bootstrap: object) {
  control.write(`${JSON.stringify(bootstrap)}\n`);
  const message = await firstMessage(control);
  control.resume();
  if (message?.type === 'ready' && 'proxyPort' in message) return message;
  if (child.exitCode === null) await once(child, 'exit');
  if (message?.type === 'failed') throw new SidecarFailed(message.code, message.message);
  throw new SidecarFailed('NoAnswer', log.join(''));
}

async function firstMessage(control: Duplex): Promise<PartMessage | undefined> {
  let text = '';
  try {
    for await (const chunk of control.iterator({ destroyOnReturn: false })) {
      text += chunk;
      if (text.includes('\n')) return JSON.parse(text);
    }
  } catch {
    // It ended before it read what it was told; its log says why.
  }
  return undefined;
}
