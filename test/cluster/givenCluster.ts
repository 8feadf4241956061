import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { KubeClient } from '../../lib/kube/client.ts';
import { kubeconfigTarget } from '../../lib/kube/kubeconfig.ts';
import type { ClusterUser } from './authority.ts';
import type { Cluster } from './cluster.ts';
import type { Image } from './imageArchive.ts';
import { howToLoad, IMAGES_DIR, IMAGES_VARIABLE } from './imageFiles.ts';
import { type CommandResult, helm, kubectl } from './kubectl.ts';

interface PodList {
  items: { metadata: { namespace: string; name: string } }[];
}

/** A cluster that somebody else made and that a kubeconfig names; other users are impersonated. */
export class GivenCluster implements Cluster {
  readonly kubeconfigFile: string;
  readonly outlivesRun: boolean = true;
  readonly #clients: KubeClient[] = [];

  constructor(kubeconfigFile: string) {
    this.kubeconfigFile = kubeconfigFile;
  }

  /** @throws Error with what the cluster, or the file, is lacking */
  async reach(): Promise<void> {
    const { code, stderr } = await this.kubectl(['get', '--raw', '/version', '--request-timeout=10s']);
    if (code === 0) return;
    // Of a file that is not there kubectl tells nothing: it asks localhost:8080 instead.
    const why = this.kubeconfigFile.split(':').some(existsSync) ? stderr.trim() : 'there is no such file';
    throw new Error(
      `the cluster of KUBECONFIG=${this.kubeconfigFile} cannot be used: ${why}\nUnset KUBECONFIG: a cluster is then made.`,
    );
  }

  /** client-go's "User impersonation": the API server takes these headers from administrators. */
  async client(user?: ClusterUser): Promise<KubeClient> {
    const target = await kubeconfigTarget({ file: this.kubeconfigFile });
    const { groups: [group, ...others] = [], name } = user ?? { name: undefined };
    if (others.length > 0) throw new Error('a given cluster is tried with users of one group');
    const impersonated = { ...(name && { 'impersonate-user': name }), ...(group && { 'impersonate-group': group }) };
    const client = new KubeClient({
      ...target,
      headers: async () => ({ ...(await target.headers()), ...impersonated }),
    });
    this.#clients.push(client);
    return client;
  }

  kubectl(args: readonly string[], options: { user?: ClusterUser; input?: string } = {}): Promise<CommandResult> {
    const { input, user } = options;
    const as = user ? [`--as=${user.name}`, ...(user.groups ?? []).map((group) => `--as-group=${group}`)] : [];
    return kubectl([...as, ...args], { kubeconfigFile: this.kubeconfigFile, input });
  }

  helm(args: readonly string[]): Promise<CommandResult> {
    return helm(args, { kubeconfigFile: this.kubeconfigFile });
  }

  /** Nothing but looks whether the caller says that it is there. @throws Error that says what to do */
  async loadImage(image: Image): Promise<string> {
    if (process.env[IMAGES_VARIABLE] === 'loaded') return image.name;
    throw new Error(
      [
        `the cluster of ${this.kubeconfigFile} needs the image ${image.name}, and only you can bring it there:`,
        `  make cluster-images      writes it and the others into ${IMAGES_DIR}`,
        howToLoad(IMAGES_DIR),
        'Or unset KUBECONFIG: a cluster is then made for the run.',
      ].join('\n'),
    );
  }

  async collectLogs(dir: string): Promise<void> {
    mkdirSync(join(dir, 'pods'), { recursive: true });
    const events = ['get', 'events', '--all-namespaces', '--sort-by=.lastTimestamp'];
    writeFileSync(join(dir, 'events.txt'), (await this.kubectl(events)).stdout);
    const all = await this.kubectl(['get', 'pods', '--all-namespaces', '-o', 'json']);
    writeFileSync(join(dir, 'pods.json'), all.stdout);
    if (all.code !== 0) return;
    for (const { metadata } of (JSON.parse(all.stdout) as PodList).items) {
      const args = ['logs', '--namespace', metadata.namespace, metadata.name, '--all-containers', '--prefix'];
      const { stderr, stdout } = await this.kubectl([...args, '--ignore-errors']);
      writeFileSync(join(dir, 'pods', `${metadata.namespace}_${metadata.name}.log`), stdout + stderr);
    }
  }

  async stop(): Promise<void> {
    for (const client of this.#clients.splice(0)) await client.close();
  }
}
