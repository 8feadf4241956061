import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { BreakableCluster, ClusterOptions } from './cluster.ts';
import { GivenCluster } from './givenCluster.ts';
import type { Image } from './imageArchive.ts';
import { run } from './kubectl.ts';
import { isRunning, type RunningProcess, runningProcess } from './runningProcess.ts';

const READY_LIMIT_SECONDS = 120;
/** Names the image of the node, where the one that a version of kind brings is not wanted or cannot be pulled. */
const IMAGE_VARIABLE = 'SIDEKEY_KIND_IMAGE';
/** Each cluster by kind of this checkout has a directory of its name here, by which a later process knows it. */
const KIND_CLUSTERS = new URL('../../.cache/kind/', import.meta.url).pathname;
/** Of a cluster that ends with a run: the process that ends it. */
const OWNER = 'owner.json';

/** Whether there is an engine behind the client: the client alone is often installed. */
export async function dockerAnswers(): Promise<boolean> {
  try {
    const docker = await run('docker', ['info', '--format', '{{.ServerVersion}}']);
    return docker.code === 0 && docker.stdout.trim() !== '' && (await run('kind', ['version'])).code === 0;
  } catch {
    return false;
  }
}

/** A cluster made by kind (kind.sigs.k8s.io), in containers of Docker. */
export class KindCluster extends GivenCluster implements BreakableCluster {
  override readonly outlivesRun: boolean;
  readonly #name: string;
  readonly #dir: string;

  private constructor(name: string, { outlivesRun }: { outlivesRun: boolean }) {
    const dir = join(KIND_CLUSTERS, name);
    super(join(dir, 'kubeconfig'));
    this.outlivesRun = outlivesRun;
    this.#name = name;
    this.#dir = dir;
  }

  /** One that `make cluster` has started is found again. @throws Error that says where the logs are of what did not start */
  static async start({ kept = false, name = `test-${process.pid}`, say }: ClusterOptions): Promise<KindCluster> {
    await KindCluster.#removeAbandoned();
    const cluster = new KindCluster(`sidekey-${name}`, { outlivesRun: kept });
    mkdirSync(cluster.#dir, { recursive: true });
    if (await cluster.#exists()) {
      // It may have been stopped since, by hand or with the engine.
      await cluster.#docker('start', cluster.#nodeName);
      await cluster.#untilReady();
      await kind(['export', 'kubeconfig', ...cluster.#options()]);
    } else {
      if (!kept) writeFileSync(join(cluster.#dir, OWNER), JSON.stringify(runningProcess(process.pid)));
      say?.(`kind create cluster --name ${cluster.#name}`);
      await cluster.#create();
    }
    return cluster;
  }

  /** The cluster whose kubeconfig that is, if it is one of this checkout; `stop` then leaves it alone. */
  static async resumeByKubeconfig(file: string): Promise<KindCluster | undefined> {
    const dir = dirname(resolve(file));
    if (dirname(dir) !== resolve(KIND_CLUSTERS)) return undefined;
    const cluster = new KindCluster(basename(dir), { outlivesRun: true });
    return (await cluster.#exists()) ? cluster : undefined;
  }

  /** Ends one that another process has started. */
  static async remove(name: string): Promise<void> {
    await new KindCluster(`sidekey-${name}`, { outlivesRun: false }).stop();
  }

  /** Ends those of runs that were cut short: containers of Docker go on without whoever started them. */
  static async #removeAbandoned(): Promise<void> {
    if (!existsSync(KIND_CLUSTERS)) return;
    for (const name of readdirSync(KIND_CLUSTERS)) {
      const file = join(KIND_CLUSTERS, name, OWNER);
      if (!existsSync(file) || isRunning(JSON.parse(readFileSync(file, 'utf8')) as RunningProcess)) continue;
      await new KindCluster(name, { outlivesRun: false }).stop();
    }
  }

  override async loadImage(image: Image): Promise<string> {
    const file = join(this.#dir, 'image.tar');
    writeFileSync(file, image.archive);
    try {
      await kind(['load', 'image-archive', file, '--name', this.#name]);
    } finally {
      rmSync(file);
    }
    const reference = `${image.name.replace(/:[^:/]*$/, '')}@${image.digest}`;
    await this.onNode(['ctr', '--namespace', 'k8s.io', 'images', 'tag', '--force', image.name, reference]);
    return reference;
  }

  async onNode(command: readonly string[]): Promise<string> {
    return this.#docker('exec', this.#nodeName, ...command);
  }

  async runtimeRestart(): Promise<void> {
    await this.onNode(['systemctl', 'restart', 'containerd']);
    await this.#untilReady();
  }

  async reboot(): Promise<void> {
    await this.#docker('restart', '-t', '0', this.#nodeName);
    await this.#untilReady();
  }

  /** The kubelet starts it again. */
  async apiServerRestart(): Promise<void> {
    const restart = 'pid=$(pgrep -x kube-apiserver) && kill -KILL $pid && while [ -d /proc/$pid ]; do sleep 0.1; done';
    await this.onNode(['sh', '-c', restart]);
    await this.#untilReady();
  }

  override async collectLogs(dir: string): Promise<void> {
    mkdirSync(dir, { recursive: true });
    await super.collectLogs(dir);
    await this.#exportLogs(join(dir, 'components'));
  }

  override async stop(): Promise<void> {
    await super.stop();
    if (this.outlivesRun) return;
    await kind(['delete', 'cluster', ...this.#options()]);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Whole, or not at all but for its logs. */
  async #create(): Promise<void> {
    const image = process.env[IMAGE_VARIABLE];
    try {
      await kind(['create', 'cluster', ...this.#options(), '--retain', ...(image ? ['--image', image] : [])]);
      // Where a node is not ready in time, kind's own --wait says so, and succeeds.
      await this.#untilReady();
    } catch (error) {
      const logs = join(this.#dir, 'logs');
      const told = await this.#exportLogs(logs).then(
        () => `; its logs are in ${logs}`,
        // There are none of a node that was not even made.
        () => '',
      );
      await kind(['delete', 'cluster', ...this.#options()]);
      if (told === '') rmSync(this.#dir, { recursive: true, force: true });
      throw new Error(`the cluster did not start${told}`, { cause: error });
    }
  }

  async #untilReady(): Promise<void> {
    // Asked for on the node: that is where its administrator's kubeconfig is, and a client of its version.
    const ready = 'kubectl get --raw /readyz && kubectl wait node --all --for=condition=Ready --timeout=5s';
    const waiting = `until ${ready}; do sleep 0.5; done`;
    await this.onNode(['timeout', String(READY_LIMIT_SECONDS), 'sh', '-c', waiting]);
  }

  async #exportLogs(dir: string): Promise<void> {
    await kind(['export', 'logs', dir, '--name', this.#name]);
  }

  get #nodeName(): string {
    return `${this.#name}-control-plane`;
  }

  async #exists(): Promise<boolean> {
    return (await kind(['get', 'clusters'])).split('\n').includes(this.#name);
  }

  async #docker(...args: readonly string[]): Promise<string> {
    const { code, stderr, stdout } = await run('docker', args);
    if (code !== 0) throw new Error(`docker ${args.join(' ')} failed: ${stderr.slice(-2_000)}`);
    return stdout;
  }

  #options(): string[] {
    return ['--name', this.#name, '--kubeconfig', this.kubeconfigFile];
  }
}

async function kind(args: readonly string[]): Promise<string> {
  const { code, stderr, stdout } = await run('kind', args);
  if (code !== 0) throw new Error(`kind ${args[0]} ${args[1]} failed: ${stderr}`);
  return stdout;
}
