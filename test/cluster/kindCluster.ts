import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cluster, ClusterOptions } from './cluster.ts';
import { GivenCluster } from './givenCluster.ts';
import type { Image } from './imageArchive.ts';
import { run } from './kubectl.ts';

const WAIT = '120s';

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
  readonly #name: string;
  readonly #dir: string;

  private constructor(name: string, dir: string) {
    super(join(dir, 'kubeconfig'));
    this.#name = name;
    this.#dir = dir;
  }

  static async start({ name = `test-${process.pid}`, say }: ClusterOptions): Promise<KindCluster> {
    const cluster = KindCluster.named(name);
    say?.(`kind create cluster --name ${cluster.#name}`);
    const existing = (await kind(['get', 'clusters'])).split('\n').includes(cluster.#name);
    if (existing) await kind(['export', 'kubeconfig', ...cluster.#options()]);
    else await kind(['create', 'cluster', ...cluster.#options(), '--wait', WAIT]);
    return cluster;
  }

  static named(name: string): KindCluster {
    return new KindCluster(`sidekey-${name}`, mkdtempSync(join(tmpdir(), 'sidekey-kind-')));
  }

  override async loadImage(image: Image): Promise<string> {
    const file = join(this.#dir, 'image.tar');
    writeFileSync(file, image.archive);
    await kind(['load', 'image-archive', file, '--name', this.#name]);
    const node = `${this.#name}-control-plane`;
    const reference = `${image.name.replace(/:[^:/]*$/, '')}@${image.digest}`;
    const tag = await run('docker', [
      'exec',
      node,
      'ctr',
      '-n',
      'k8s.io',
      'images',
      'tag',
      '--force',
      image.name,
      reference,
    ]);
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
    await kind(['delete', 'cluster', ...this.#options()]);
    rmSync(this.#dir, { recursive: true, force: true });
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
