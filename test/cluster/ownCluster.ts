import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '../../lib/kube/client.ts';
import type { ClusterUser } from './authority.ts';
import { binaries } from './binaries.ts';
import type { BreakableCluster, ClusterOptions } from './cluster.ts';
import { clusterObjects } from './clusterObjects.ts';
import { CLUSTERS, type ClusterRecord, recordOf, saveRecord } from './clusterRecord.ts';
import { Component, type Surroundings } from './component.ts';
import { ControlPlane } from './controlPlane.ts';
import { GivenCluster } from './givenCluster.ts';
import type { Image } from './imageArchive.ts';
import { pauseImage } from './images.ts';
import { type CommandResult, helm, run } from './kubectl.ts';
import { Machine, machineRefusal } from './machine.ts';
import { nodeCommands } from './nodeCommands.ts';
import { CONTAINERD_SOCKET } from './nodeConfig.ts';
import { freePorts } from './ports.ts';
import { isRunning, type RunningProcess, runningProcess } from './runningProcess.ts';
import { type BinaryName, GO_PROGRAMS } from './versions.ts';

/** Of the documentation's range (RFC 5737): it is nobody's. */
const NODE_ADDRESS = '192.0.2.10';
const NODE_NAME = 'node-1';
const PORTS = { api: 6443, etcd: 2379, etcdPeer: 2380 };
const VOLUMES = 16;
const READY_LIMIT_MS = 90_000;
const POLL_MS = 100;
const KUBELET_STAYS_MS = 1_000;

/**
 * One control plane and one node, with real kubelet, containerd, CNI, kube-proxy and CoreDNS, in a machine of its own.
 *
 * The API server is at a port of our loopback. Everything is under .cache/cluster/NAME while it runs, logs included.
 */
export class OwnCluster implements BreakableCluster {
  readonly plane: ControlPlane;
  readonly machine: Machine;
  /** Where pods reach what `runOnNode` starts. */
  readonly nodeAddress = NODE_ADDRESS;
  readonly nodeName = NODE_NAME;
  readonly #dir: string;
  readonly #surroundings: Surroundings;
  readonly #commands: ReadonlyMap<string, readonly string[]>;
  readonly #components = new Map<string, Component>();
  readonly #port: number;
  readonly #owner: RunningProcess | undefined;
  /** Whether another process has started it. */
  readonly #resumed: boolean;

  private constructor(options: {
    plane: ControlPlane;
    machine: Machine;
    dir: string;
    surroundings: Surroundings;
    commands: ReadonlyMap<string, readonly string[]>;
    port: number;
    owner: RunningProcess | undefined;
    resumed: boolean;
  }) {
    this.plane = options.plane;
    this.machine = options.machine;
    this.#dir = options.dir;
    this.#surroundings = options.surroundings;
    this.#commands = options.commands;
    this.#port = options.port;
    this.#owner = options.owner;
    this.#resumed = options.resumed;
  }

  /** @throws Error that says what is missing, or has the end of the log of what did not start */
  static async start({ kept = false, name = `test-${process.pid}`, say }: ClusterOptions): Promise<OwnCluster> {
    const refusal = machineRefusal();
    if (refusal !== undefined)
      throw new Error(`${refusal}. Or name a cluster by KUBECONFIG, or install Docker and kind.`);
    const programs = await binaries(Object.keys(GO_PROGRAMS) as BinaryName[], say);
    await removeAbandoned();
    const dir = join(CLUSTERS, name);
    if (recordOf(name) !== undefined)
      throw new Error(`there already is a cluster ${name}; end it first (make cluster-down)`);
    // Logs of one that did not start.
    rmSync(dir, { recursive: true, force: true });
    const logDir = join(dir, 'logs');
    mkdirSync(logDir, { recursive: true });
    const machine = await Machine.start({
      name,
      kept,
      init: programs.pause,
      address: NODE_ADDRESS,
      volumes: VOLUMES,
      logFile: join(logDir, 'machine.log'),
    });
    const [port] = (await freePorts(1)) as [number];
    const owner = kept ? undefined : runningProcess(process.pid);
    const cluster = await OwnCluster.#prepare({ name, dir, machine, port, owner, resumed: false });
    try {
      await cluster.#forward();
      await cluster.#startAll();
      return cluster;
    } catch (error) {
      await cluster.stop({ keepLogs: true });
      throw new Error(`the cluster did not start; its logs are in ${logDir}`, { cause: error });
    }
  }

  /** One that another process has started, if it still runs; `stop` then leaves it alone. */
  static async resume(name: string): Promise<OwnCluster | undefined> {
    const record = recordOf(name);
    if (record === undefined || !isRunning(record.machine.init)) return undefined;
    const { owner, port } = record;
    const dir = join(CLUSTERS, name);
    const machine = Machine.resume(record.machine);
    const cluster = await OwnCluster.#prepare({ name, dir, machine, port, owner, resumed: true });
    for (const one of record.components) {
      const components = cluster.plane.has(one.name) ? cluster.plane.components : cluster.#components;
      components.set(one.name, Component.resume(one, cluster.#surroundings));
    }
    return cluster;
  }

  /** The same of the cluster whose kubeconfig that is. */
  static async resumeByKubeconfig(file: string): Promise<OwnCluster | undefined> {
    const dir = dirname(resolve(file));
    return dirname(dir) === resolve(CLUSTERS) ? OwnCluster.resume(basename(dir)) : undefined;
  }

  /** Ends one that another process has started. */
  static async remove(name: string): Promise<void> {
    const record = recordOf(name);
    if (record === undefined) return;
    await Machine.resume(record.machine).stop();
    for (const one of record.components) await Component.resume(one, { logDir: '' }).stop(0);
    rmSync(join(CLUSTERS, name), { recursive: true, force: true });
  }

  static async #prepare(options: {
    name: string;
    dir: string;
    machine: Machine;
    port: number;
    owner: RunningProcess | undefined;
    resumed: boolean;
  }): Promise<OwnCluster> {
    const { dir, machine, name, owner, port } = options;
    const surroundings = {
      logDir: join(dir, 'logs'),
      kept: owner === undefined || options.resumed,
      enter: machine.enter,
    };
    const url = `https://127.0.0.1:${port}`;
    const within = { dir, surroundings, nodeAddress: NODE_ADDRESS, ports: PORTS, url, etcdDir: '/run/etcd' };
    const plane = await ControlPlane.prepare({ controllers: true, within });
    const programs = await binaries(Object.keys(GO_PROGRAMS) as BinaryName[]);
    const commands = new Map(
      Object.entries(
        nodeCommands({
          dir,
          programs,
          name,
          authority: plane.authority,
          address: NODE_ADDRESS,
          nodeName: NODE_NAME,
          apiPort: PORTS.api,
        }),
      ),
    );
    return new OwnCluster({ ...options, plane, surroundings, commands });
  }

  get kubeconfigFile(): string {
    return join(this.#dir, 'kubeconfig');
  }

  get outlivesRun(): boolean {
    return this.#resumed;
  }

  async client(user?: ClusterUser): Promise<KubeClient> {
    return this.plane.client(user);
  }

  kubectl(args: readonly string[], options: { user?: ClusterUser; input?: string } = {}): Promise<CommandResult> {
    return this.plane.kubectl(args, options);
  }

  helm(args: readonly string[]): Promise<CommandResult> {
    return helm(args, { kubeconfigFile: this.kubeconfigFile, cacheDir: join(this.#dir, 'helm') });
  }

  async loadImage(image: Image): Promise<string> {
    const reference = `${image.name.replace(/:[^:/]*$/, '')}@${image.digest}`;
    await succeed(this.#ctr('images', 'import', '-'), image.archive);
    // Without a registry the kubelet finds by digest what has that for its name.
    await succeed(this.#ctr('images', 'tag', '--force', image.name, reference));
    return reference;
  }

  /** Names of the world and their addresses, for all pods, within a second. */
  async setHosts(hosts: Readonly<Record<string, string>>): Promise<void> {
    writeFileSync(
      join(this.#dir, 'node', 'hosts'),
      Object.entries(hosts)
        .map(([name, address]) => `${address} ${name}\n`)
        .join(''),
    );
    await delay(1_200);
  }

  /** Gives the node one more address, whatever it is in the world: for a double of an upstream to listen on. */
  addAddress(address: string): void {
    this.machine.run(['ip', 'addr', 'add', `${address}/${address.includes(':') ? 128 : 32}`, 'dev', 'node0']);
  }

  /** Starts a program on the node, beside the pods; it ends with the cluster. */
  async runOnNode(name: string, command: readonly string[], env?: Record<string, string>): Promise<Component> {
    const component = await Component.start(name, command, this.#surroundings, env);
    this.#components.set(name, component);
    return component;
  }

  /** The kubelet ends; pods go on, and nobody says so. */
  async nodeDown(): Promise<void> {
    await this.#components.get('kubelet')!.stop(0);
  }

  /** Starts the kubelet until it stays, as systemd would: it ends where containerd answers, but not for pods yet. */
  async nodeUp(): Promise<void> {
    const untilMs = performance.now() + READY_LIMIT_MS;
    do {
      await this.#start('kubelet');
      await delay(KUBELET_STAYS_MS);
    } while (!this.#components.get('kubelet')!.running && performance.now() < untilMs);
    this.#check('kubelet', untilMs);
  }

  /** containerd and kubelet end and start again, as with an upgrade of the node; pods go on. */
  async runtimeRestart(): Promise<void> {
    await this.nodeDown();
    await this.#components.get('containerd')!.stop(5_000);
    await this.#startRuntime();
    await this.nodeUp();
  }

  async onNode(command: readonly string[]): Promise<string> {
    return this.machine.run(command);
  }

  async reboot(): Promise<void> {
    await this.nodeDown();
    const [ctr, ...args] = this.#ctr('tasks');
    const { stdout } = await run(ctr!, [...args, 'list', '--quiet']);
    for (const task of stdout.split('\n').filter(Boolean)) await run(ctr!, [...args, 'kill', '--signal', 'KILL', task]);
    await this.#components.get('containerd')!.stop(0);
    this.machine.run([
      'sh',
      '-c',
      `grep -o '/run/kubelet/pods/[^ ]*empty-dir[^ ]*' /proc/mounts | xargs -r umount --lazy`,
    ]);
    await this.#startRuntime();
    await this.nodeUp();
  }

  async apiServerRestart(whileDownMs?: number): Promise<void> {
    await this.plane.restart(whileDownMs);
    this.#save();
  }

  async collectLogs(dir: string): Promise<void> {
    await new GivenCluster(this.kubeconfigFile).collectLogs(dir);
    cpSync(join(this.#dir, 'logs'), join(dir, 'components'), { recursive: true });
  }

  /** All processes, mounts and namespaces of it are gone then, unless another process has started it. */
  async stop({ keepLogs = false } = {}): Promise<void> {
    await this.plane.closeClients();
    if (this.#resumed) return;
    await this.machine.stop();
    await this.plane.stop();
    for (const component of this.#components.values()) await component.stop(0);
    if (keepLogs) rmSync(join(this.#dir, 'record.json'), { force: true });
    else rmSync(this.#dir, { recursive: true, force: true });
  }

  async #startAll(): Promise<void> {
    writeFileSync(this.kubeconfigFile, readFileSync(this.plane.kubeconfigFile), { mode: 0o600 });
    const startRuntime = async () => {
      await this.#startRuntime();
      await this.loadImage(await pauseImage());
    };
    await Promise.all([this.plane.startComponents(), startRuntime()]);
    const input = clusterObjects({ nodeAddress: NODE_ADDRESS, volumes: VOLUMES })
      .map((object) => JSON.stringify(object))
      .join('\n---\n');
    const applied = await this.kubectl(['apply', '--server-side', '-f', '-'], { input });
    if (applied.code !== 0) throw new Error(`the first objects were refused: ${applied.stderr}`);
    await Promise.all([this.nodeUp(), this.#start('kube-proxy'), this.#start('coredns')]);
    await this.#ready();
    this.#save();
  }

  /** Until it answers: a kubelet that finds it silent ends. */
  async #startRuntime(): Promise<void> {
    await this.#start('containerd');
    const untilMs = performance.now() + READY_LIMIT_MS;
    const [program, ...args] = this.#ctr('version');
    while ((await run(program!, args)).code !== 0) {
      this.#check('containerd', untilMs);
      await delay(POLL_MS);
    }
  }

  #ctr(...args: string[]): string[] {
    return [...this.machine.enter, 'ctr', '--address', CONTAINERD_SOCKET, '--namespace', 'k8s.io', ...args];
  }

  /** Until the node takes pods, and pods have a ServiceAccount. */
  async #ready(): Promise<void> {
    const client = this.plane.client();
    const untilMs = performance.now() + READY_LIMIT_MS;
    for (;;) {
      for (const name of this.#components.keys()) this.#check(name, untilMs);
      const node = await client.get<NodeObject>(`/api/v1/nodes/${NODE_NAME}`).catch(() => undefined);
      const isReady = node?.status.conditions.some(({ status, type }) => type === 'Ready' && status === 'True');
      const { items } = await client.list('/api/v1/namespaces/default/serviceaccounts');
      if (isReady && (node?.spec.taints ?? []).length === 0 && items.length > 0) return;
      await delay(POLL_MS);
    }
  }

  #check(name: string, untilMs: number): void {
    const component = this.#components.get(name)!;
    if (!component.running) throw new Error(`${name} ended:\n${component.lastWords}`);
    if (performance.now() > untilMs) throw new Error(`the cluster is not ready; ${name} says:\n${component.lastWords}`);
  }

  async #start(name: string): Promise<void> {
    this.#components.set(name, await Component.start(name, this.#commands.get(name)!, this.#surroundings));
    this.#save();
  }

  /** From our loopback through a socket file, which two network namespaces can share. */
  async #forward(): Promise<void> {
    // Relative: the path of a socket is short.
    const inDir = (command: string) => ['/bin/sh', '-c', `cd "$0" && exec ${command}`, this.#dir];
    // Without nodelay the end of a long answer waits for the acknowledgement of its beginning, which is late by 40 ms (RFC 1122 section 4.2.3.2).
    const inside = `socat UNIX-LISTEN:api.sock,fork TCP:127.0.0.1:${PORTS.api},nodelay`;
    await this.runOnNode('api-inside', inDir(inside));
    const listen = `TCP-LISTEN:${this.#port},bind=127.0.0.1,reuseaddr,backlog=512,nodelay,fork`;
    const outside = { ...this.#surroundings, enter: undefined };
    const command = inDir(`socat ${listen} UNIX-CONNECT:api.sock`);
    this.#components.set('api-outside', await Component.start('api-outside', command, outside));
    this.#save();
  }

  #save(): void {
    const components = [...this.plane.components.values(), ...this.#components.values()];
    const record: ClusterRecord = {
      machine: this.machine.record,
      port: this.#port,
      ...(this.#owner && { owner: this.#owner }),
      components: components.map(({ entrance, name, process }) => ({ name, process, entrance })),
    };
    saveRecord(basename(this.#dir), record);
  }
}

interface NodeObject {
  spec: { taints?: object[] };
  status: { conditions: { type: string; status: string }[] };
}

/** What is left of clusters whose process was killed. */
async function removeAbandoned(): Promise<void> {
  if (!existsSync(CLUSTERS)) return;
  for (const name of readdirSync(CLUSTERS)) {
    const record = recordOf(name);
    if (record === undefined) continue;
    const holder = record.owner ?? record.machine.init;
    if (!isRunning(holder)) await OwnCluster.remove(name);
  }
}

async function succeed(command: readonly string[], input?: Buffer): Promise<void> {
  const [program, ...args] = command;
  const { code, stderr } = await run(program!, args, { input });
  if (code !== 0) throw new Error(`${command.slice(-4).join(' ')} failed: ${stderr}`);
}
