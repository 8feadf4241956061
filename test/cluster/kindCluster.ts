import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { Cluster, ClusterOptions } from './cluster.ts';
import { GivenCluster } from './givenCluster.ts';
import type { Image } from './imageArchive.ts';
import { run } from './kubectl.ts';

const WAIT = '120s';
/** Names the image of the node, where the one that a version of kind brings is not wanted or cannot be pulled. */
const IMAGE_VARIABLE = 'SIDEKEY_KIND_IMAGE';
/** Each cluster by kind of this checkout has a directory of its name here, by which a later process knows it. */
const KIND_CLUSTERS = new URL('../../.cache/kind/', import.meta.url).pathname;

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
export class KindCluster extends GivenCluster implements Cluster {
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

  /** One that `make cluster` has started is found again. */
  static async start({ kept = false, name = `test-${process.pid}`, say }: ClusterOptions): Promise<KindCluster> {
    const cluster = new KindCluster(`sidekey-${name}`, { outlivesRun: kept });
    mkdirSync(cluster.#dir, { recursive: true });
    if (await cluster.#exists()) await kind(['export', 'kubeconfig', ...cluster.#options()]);
    else {
      say?.(`kind create cluster --name ${cluster.#name}`);
      const image = process.env[IMAGE_VARIABLE];
      await kind(['create', 'cluster', ...cluster.#options(), '--wait', WAIT, ...(image ? ['--image', image] : [])]);
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

  override async loadImage(image: Image): Promise<string> {
    const file = join(this.#dir, 'image.tar');
    writeFileSync(file, image.archive);
    await kind(['load', 'image-archive', file, '--name', this.#name]);
    rmSync(file);
    const ctr = ['exec', `${this.#name}-control-plane`, 'ctr', '--namespace', 'k8s.io'];
    const reference = `${image.name.replace(/:[^:/]*$/, '')}@${image.digest}`;
    const tag = await run('docker', [...ctr, 'images', 'tag', '--force', image.name, reference]);
    if (tag.code !== 0) throw new Error(`ctr images tag failed: ${tag.stderr}`);
    return reference;
  }

  override async collectLogs(dir: string): Promise<void> {
    mkdirSync(dir, { recursive: true });
    await super.collectLogs(dir);
    await kind(['export', 'logs', join(dir, 'components'), '--name', this.#name]);
  }

  override async stop(): Promise<void> {
    await super.stop();
    if (this.outlivesRun) return;
    await kind(['delete', 'cluster', ...this.#options()]);
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async #exists(): Promise<boolean> {
    return (await kind(['get', 'clusters'])).split('\n').includes(this.#name);
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
