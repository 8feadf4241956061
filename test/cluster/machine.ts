import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { endingWithParent } from './component.ts';
import { environment } from './environment.ts';
import { childOf, end, isRunning, type RunningProcess, runningProcess } from './runningProcess.ts';

const CGROUPS = '/sys/fs/cgroup';
const START_LIMIT_MS = 10_000;
const POLL_MS = 20;
const CGROUP_LIMIT_MS = 10_000;
/** Of all pods together, against 1 of whatever else is started here: a node has its processors for itself. */
const CPU_WEIGHT = 4;
/** What stands for 1 in either version (Documentation/scheduler/sched-design-CFS.rst and admin-guide/cgroup-v2.rst of Linux). */
const CPU_WEIGHT_FILES = { 'cpu.shares': 1024, 'cpu.weight': 100 } as const;

/** Whether we may make one here. */
export function machineRefusal(): string | undefined {
  if (process.platform !== 'linux') return `a cluster of our own needs Linux, and this is ${process.platform}`;
  if (process.getuid?.() !== 0)
    return 'a cluster of our own needs root (namespaces, mounts and cgroups), and we are not';
  for (const [program, packageName] of Object.entries(PROGRAMS))
    if (!PATHS.some((dir) => existsSync(join(dir, program))))
      return `a cluster of our own needs ${program}. Run: apt-get install --no-install-recommends ${packageName}`;
  return undefined;
}

const PATHS = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/lib/cni'];
const PROGRAMS: Readonly<Record<string, string>> = {
  containerd: 'containerd',
  runc: 'runc',
  bridge: 'containernetworking-plugins',
  nft: 'nftables',
  iptables: 'iptables',
  ip: 'iproute2',
  conntrack: 'conntrack',
  socat: 'socat',
};

export interface MachineRecord {
  name: string;
  /** Of unshare(1), in our namespaces. */
  holder: RunningProcess;
  /** Process 1 of it, by its number in our namespace. */
  init: RunningProcess;
}

/**
 * A machine for one node: network, mount and PID namespaces of its own, in which /run, /var/lib/cni and /var/log are its own memory.
 *
 * When its first process ends the kernel ends all others and undoes all mounts, so that nothing of a cluster can be left over
 * (pid_namespaces(7)) but its cgroups, which `stop` removes.
 */
export class Machine {
  readonly record: MachineRecord;

  private constructor(record: MachineRecord) {
    this.record = record;
  }

  /** `init` is a static program that collects orphans. It ends with us unless it is `kept`. */
  static async start(options: {
    name: string;
    init: string;
    address: string;
    volumes: number;
    logFile: string;
    kept: boolean;
  }): Promise<Machine> {
    const { address, init, kept, logFile, name, volumes } = options;
    for (const dir of ['/var/lib/cni', '/run']) mkdirSync(dir, { recursive: true });
    const setup = [
      'set -e',
      'exec 2>"$1"',
      'mount --make-rshared /',
      'for dir in /run /var/lib/cni /var/log; do mount -t tmpfs -o mode=755 tmpfs $dir; done',
      'mkdir -p /run/netns /run/containerd /run/kubelet /run/volumes',
      'i=0; while [ $i -lt "$3" ]; do mkdir -m 777 /run/volumes/$i; i=$((i+1)); done',
      'ip link set lo up',
      // A bridge, because not every kernel has dummy devices.
      'ip link add node0 type bridge && ip addr add "$2/24" dev node0 && ip link set node0 up',
      'ip route add default dev node0',
      'echo 1 > /proc/sys/net/ipv4/ip_forward',
      'touch /run/ready',
      'exec "$0"',
    ].join('\n');
    for (const dir of cgroupDirs(name)) mkdirSync(dir, { recursive: true });
    enableControllers(name);
    weigh(name);
    const unshare = [
      'unshare',
      '--net',
      '--mount',
      '--propagation',
      'slave',
      '--pid',
      '--fork',
      '--kill-child',
      '--mount-proc',
    ];
    const command = [...unshare, '/bin/sh', '-c', setup, init, logFile, address, String(volumes)];
    const [program, ...args] = kept ? command : endingWithParent(command);
    const child = spawn(program!, args, { detached: true, stdio: 'ignore', env: environment() });
    await once(child, 'spawn');
    child.unref();
    const untilMs = performance.now() + START_LIMIT_MS;
    for (;;) {
      const first = childOf(child.pid!);
      if (first !== undefined && existsSync(`/proc/${first}/root/run/ready`)) {
        return new Machine({ name, holder: runningProcess(child.pid!), init: runningProcess(first) });
      }
      if (child.exitCode !== null || performance.now() > untilMs) {
        const log = existsSync(logFile) ? readFileSync(logFile, 'utf8') : '';
        throw new Error(`the machine of the cluster did not start: ${log}`);
      }
      await delay(POLL_MS);
    }
  }

  static resume(record: MachineRecord): Machine {
    return new Machine(record);
  }

  get running(): boolean {
    return isRunning(this.record.init);
  }

  /** What a command is started with to run in it. */
  get enter(): string[] {
    return ['nsenter', `--target=${this.record.init.pid}`, '--net', '--mount', '--pid'];
  }

  /** Runs a command in it, as the root of it. @throws Error with what it said */
  run(command: readonly string[], input = ''): string {
    const [program, ...args] = [...this.enter, ...command];
    return execFileSync(program!, args, { input, encoding: 'utf8', stdio: 'pipe', env: environment() });
  }

  /** A file of it, as we see it. */
  path(path: string): string {
    return `/proc/${this.record.init.pid}/root${path}`;
  }

  async stop(): Promise<void> {
    const { holder, init, name } = this.record;
    await end(init, 0);
    await end(holder, 0);
    const untilMs = performance.now() + CGROUP_LIMIT_MS;
    for (const dir of cgroupDirs(name)) {
      while (!removeCgroup(dir)) {
        if (performance.now() > untilMs) throw new Error(`processes are left in ${dir}`);
        await delay(POLL_MS);
      }
    }
  }
}

/** The cgroup that the kubelet puts all pods into; a path in each hierarchy. */
export function cgroupRoot(name: string): string {
  return `/sidekey-${name}`;
}

/** With the first version there is a directory for each controller, with the second there is one. */
function cgroupDirs(name: string): string[] {
  if (existsSync(join(CGROUPS, 'cgroup.controllers'))) return [join(CGROUPS, cgroupRoot(name))];
  return readdirSync(CGROUPS, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(CGROUPS, entry.name, 'cgroup.procs')))
    .map((entry) => join(CGROUPS, entry.name, cgroupRoot(name)));
}

function weigh(name: string): void {
  for (const dir of cgroupDirs(name))
    for (const [file, one] of Object.entries(CPU_WEIGHT_FILES))
      if (existsSync(join(dir, file))) writeFileSync(join(dir, file), String(CPU_WEIGHT * one));
}

function enableControllers(name: string): void {
  const file = join(CGROUPS, 'cgroup.controllers');
  if (!existsSync(file)) return;
  for (const controller of readFileSync(file, 'utf8').trim().split(' '))
    for (const dir of [CGROUPS, join(CGROUPS, cgroupRoot(name))])
      try {
        writeFileSync(join(dir, 'cgroup.subtree_control'), `+${controller}`);
      } catch {
        // The kubelet says which of those that it needs are not there.
      }
}

/** Whether it is gone. */
function removeCgroup(dir: string): boolean {
  if (!existsSync(dir)) return true;
  for (const entry of readdirSync(dir, { withFileTypes: true }))
    if (entry.isDirectory() && !removeCgroup(join(dir, entry.name))) return false;
  try {
    rmdirSync(dir);
    return true;
  } catch {
    return false;
  }
}
