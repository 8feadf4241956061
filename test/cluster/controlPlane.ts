import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { KubeClient } from '../../lib/kube/client.ts';
import { Authority, type ClusterUser } from './authority.ts';
import { binaries } from './binaries.ts';
import { Component, type Surroundings } from './component.ts';
import { controlPlaneCommands } from './controlPlaneCommands.ts';
import { kubeconfig, userFile } from './kubeconfig.ts';
import { type CommandResult, kubectl } from './kubectl.ts';
import { freePorts } from './ports.ts';

const ADMIN: ClusterUser = { name: 'kubernetes-admin', groups: ['system:masters'] };
const READY_LIMIT_MS = 60_000;
const POLL_MS = 100;
/** An API server asked to end waits for its watches for up to a minute; a test does not. */
const API_SERVER_GRACE_MS = 3_000;
const ATTEMPTS = 3;

export interface ControlPlaneOptions {
  /** Whether kube-controller-manager and kube-scheduler run: ServiceAccounts, garbage collection, Deployments. */
  controllers?: boolean;
  /** Of a whole cluster: its directory, surroundings, ports, and the address that its node has. */
  within?: {
    dir: string;
    surroundings: Surroundings;
    nodeAddress: string;
    ports: { api: number; etcd: number; etcdPeer: number };
    url: string;
    etcdDir: string;
  };
}

/**
 * A real etcd and kube-apiserver, without any node; ready in about five seconds.
 *
 * Webhooks are reached by `clientConfig.url` on loopback. It ends with the process that started it, at the latest.
 */
export class ControlPlane {
  readonly url: string;
  /** Of an administrator (group system:masters). */
  readonly kubeconfigFile: string;
  readonly authority: Authority;
  readonly components = new Map<string, Component>();
  readonly #dir: string;
  readonly #surroundings: Surroundings;
  readonly #commands: ReadonlyMap<string, readonly string[]>;
  readonly #owned: boolean;
  readonly #etcdUrl: string;
  readonly #clients: KubeClient[] = [];

  private constructor(options: {
    url: string;
    dir: string;
    authority: Authority;
    surroundings: Surroundings;
    commands: ReadonlyMap<string, readonly string[]>;
    owned: boolean;
    etcdUrl: string;
  }) {
    this.url = options.url;
    this.authority = options.authority;
    this.#dir = options.dir;
    this.#surroundings = options.surroundings;
    this.#commands = options.commands;
    this.#owned = options.owned;
    this.#etcdUrl = options.etcdUrl;
    this.kubeconfigFile = this.#kubeconfigOf(ADMIN);
  }

  /** @throws Error with the end of the log of what did not start */
  static async start(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
    for (let attempt = 1; ; attempt += 1) {
      const plane = await ControlPlane.prepare(options);
      try {
        await plane.startComponents();
        return plane;
      } catch (error) {
        await plane.stop();
        // Somebody else may have taken a port since it was found to be free.
        if (attempt === ATTEMPTS || !/address already in use/.test(String(error))) throw error;
      }
    }
  }

  /** Everything but the start of its components. */
  static async prepare({ controllers = false, within }: ControlPlaneOptions): Promise<ControlPlane> {
    const programs = await binaries([
      'etcd',
      'kube-apiserver',
      ...(controllers ? (['kube-controller-manager', 'kube-scheduler'] as const) : []),
    ]);
    const dir = within?.dir ?? mkdtempSync(join(tmpdir(), 'sidekey-control-plane-'));
    const authority = new Authority(join(dir, 'pki'));
    const [api, etcd, etcdPeer] = within
      ? [within.ports.api, within.ports.etcd, within.ports.etcdPeer]
      : ((await freePorts(3)) as [number, number, number]);
    const { etcdDir, nodeAddress } = within ?? {};
    const ports = { api, etcd, etcdPeer };
    const commands = controlPlaneCommands({ dir, authority, programs, ports, etcdDir, nodeAddress });
    const surroundings = within?.surroundings ?? { logDir: join(dir, 'logs') };
    const url = within?.url ?? `https://127.0.0.1:${api}`;
    const etcdUrl = `http://127.0.0.1:${etcd}`;
    return new ControlPlane({ url, dir, authority, surroundings, commands, owned: within === undefined, etcdUrl });
  }

  async startComponents(): Promise<void> {
    await this.#start('etcd');
    await this.#start('kube-apiserver');
    await this.#ready();
    // Before that they would end for want of an answer.
    for (const name of this.#commands.keys()) if (!this.components.has(name)) await this.#start(name);
  }

  /** A client that is certified as that user, by default an administrator, or that has that token; closed by `stop`. */
  client(user: ClusterUser | { token: string } = ADMIN): KubeClient {
    const { caPem } = this.authority;
    const client =
      'token' in user
        ? new KubeClient({ url: this.url, caPem, headers: async () => ({ authorization: `Bearer ${user.token}` }) })
        : new KubeClient({
            url: this.url,
            caPem,
            headers: async () => ({}),
            clientCert: this.authority.issue(userFile(user), user),
          });
    this.#clients.push(client);
    return client;
  }

  kubectl(args: readonly string[], options: { user?: ClusterUser; input?: string } = {}): Promise<CommandResult> {
    const kubeconfigFile = options.user === undefined ? this.kubeconfigFile : this.#kubeconfigOf(options.user);
    return kubectl(args, { kubeconfigFile, input: options.input, cacheDir: join(this.#dir, 'kubectl-cache') });
  }

  /** Of that user, for programs that read one. */
  kubeconfigFor(user: ClusterUser): string {
    return this.#kubeconfigOf(user);
  }

  /** Ends the API server, with all its watches, and starts it again at the same port; `whileDownMs` apart. */
  async restart(whileDownMs = 0): Promise<void> {
    await this.components.get('kube-apiserver')!.stop(API_SERVER_GRACE_MS);
    await delay(whileDownMs);
    await this.#start('kube-apiserver');
    await this.#ready();
  }

  /** Makes etcd forget every revision but the last: whoever goes on from an older one is answered 410, once the API server has restarted. */
  async compact(): Promise<void> {
    const { header } = await this.#etcd<{ header: { revision: string } }>('range', { key: btoa('/') });
    await this.#etcd('compaction', { revision: header.revision, physical: true });
  }

  /** Whether that is one of its components. */
  has(component: string): boolean {
    return this.#commands.has(component);
  }

  async closeClients(): Promise<void> {
    for (const client of this.#clients.splice(0)) await client.close();
  }

  async stop(): Promise<void> {
    await this.closeClients();
    // Nothing of it is kept: none needs a grace. The API server before its etcd, to whom it would speak.
    for (const component of [...this.components.values()].reverse()) await component.stop(0);
    if (this.#owned) rmSync(this.#dir, { recursive: true, force: true });
  }

  /** As JSON (etcd's gRPC gateway). */
  async #etcd<T>(call: 'range' | 'compaction', body: object): Promise<T> {
    const answer = await fetch(`${this.#etcdUrl}/v3/kv/${call}`, { method: 'POST', body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`etcd answered ${answer.status} to ${call}: ${await answer.text()}`);
    return (await answer.json()) as T;
  }

  async #start(name: string): Promise<void> {
    this.components.set(name, await Component.start(name, this.#commands.get(name)!, this.#surroundings));
  }

  async #ready(): Promise<void> {
    const { certPem, keyPem } = this.authority.issue(userFile(ADMIN), ADMIN);
    const login = { ca: this.authority.caPem, cert: certPem, key: keyPem };
    const untilMs = performance.now() + READY_LIMIT_MS;
    while ((await statusOf(`${this.url}/readyz`, login)) !== 200) {
      const ended = [...this.components.values()].find((component) => !component.running);
      const slow = this.components.get('kube-apiserver')!;
      if (ended !== undefined) throw new Error(`${ended.name} ended:\n${ended.lastWords}`);
      if (performance.now() > untilMs) throw new Error(`${slow.name} is not ready after a minute:\n${slow.lastWords}`);
      await delay(POLL_MS);
    }
  }

  #kubeconfigOf(user: ClusterUser): string {
    const file = join(this.#dir, `${userFile(user)}.kubeconfig`);
    mkdirSync(this.#dir, { recursive: true });
    writeFileSync(file, kubeconfig(this.url, this.authority, user), { mode: 0o600 });
    return file;
  }
}

function statusOf(url: string, login: { ca: string; cert: string; key: string }): Promise<number> {
  return new Promise((resolve) => {
    const asked = request(url, { ...login, agent: false, timeout: 2_000 }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(0));
    asked.end();
  });
}
