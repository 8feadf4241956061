import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '../../lib/kube/client.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { helm, SYSTEM_NAMESPACE, valuesOf } from '../cluster/e2e/release.ts';
import { hostOf, NETWORKS, startUpstream, UPSTREAM_NAMESPACE } from '../cluster/e2e/upstreamPod.ts';
import { agentImage, sidekeyImage } from '../cluster/images.ts';

export const NAMESPACE = 'bench';
export const SECRET = 'key';
/** What agents of the bench call. */
export const TARGET = `https://${hostOf('api')}`;
const CHARTS = new URL('../../charts/', import.meta.url).pathname;
const POLL_MS = 100;

/** A cluster with Sidekey in it, an upstream, and one Integration for the agents of the bench. */
export class Installed {
  readonly cluster: Cluster;
  readonly client: KubeClient;
  readonly agentImage: string;

  private constructor(cluster: Cluster, client: KubeClient, image: string) {
    this.cluster = cluster;
    this.client = client;
    this.agentImage = image;
  }

  static async start(say: (line: string) => void): Promise<Installed> {
    const cluster = await startCluster({ say });
    try {
      const image = await cluster.loadImage(await sidekeyImage());
      const agent = await cluster.loadImage(await agentImage());
      const { caPem } = await startUpstream(cluster, agent);
      say('the upstream is ready; Sidekey is installed …');
      await helm(cluster, ['install', 'sidekey-crds', `${CHARTS}sidekey-crds`, '--namespace', 'default']);
      await helm(cluster, [
        ...['install', 'sidekey', `${CHARTS}sidekey`, '--namespace', SYSTEM_NAMESPACE, '--create-namespace'],
        ...valuesOf({ image, extraCaPem: caPem }),
        // What a pod asks for must not be what ends a rollout on a node of two cores.
        ...['--set', 'sidecar.resources.requests.cpu=1m', '--wait', '--timeout', '180s'],
      ]);
      const installed = new Installed(cluster, await cluster.client(), agent);
      await installed.#prepare();
      return installed;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  /** @throws Error with what kubectl says */
  async kubectl(...args: string[]): Promise<string> {
    const { code, stderr, stdout } = await this.cluster.kubectl(args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  async apply(...objects: object[]): Promise<void> {
    const input = objects.map((object) => JSON.stringify(object)).join('\n---\n');
    const { code, stderr } = await this.cluster.kubectl(['apply', '--server-side', '-f', '-'], { input });
    if (code !== 0) throw new Error(`kubectl apply: ${stderr}`);
  }

  async setSecret(value: string): Promise<void> {
    const path = `/api/v1/namespaces/${NAMESPACE}/secrets/${SECRET}`;
    await this.client.patch(path, { data: { value: Buffer.from(value).toString('base64') } }, 'merge');
  }

  /** A pod whose agent runs that command. */
  pod(name: string, command: string[], options: { labelled: boolean }): object {
    return { apiVersion: 'v1', kind: 'Pod', ...this.template(command, { ...options, name }) };
  }

  template(command: string[], options: { labelled: boolean; name?: string; labels?: object }): object {
    const { labelled, labels, name } = options;
    const optIn = labelled ? { 'sidekey.dev/inject': 'true', 'tag.sidekey.dev/llm': 'true' } : {};
    return {
      metadata: { ...(name && { name, namespace: NAMESPACE }), labels: { ...optIn, ...labels } },
      spec: {
        ...(name && { restartPolicy: 'Never' }),
        terminationGracePeriodSeconds: 1,
        automountServiceAccountToken: false,
        containers: [
          {
            name: 'agent',
            image: this.agentImage,
            imagePullPolicy: 'IfNotPresent',
            command,
            env: [
              { name: 'TARGET', value: TARGET },
              { name: 'NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
            ],
          },
        ],
      },
    };
  }

  /** What the upstream was asked, of all that it remembers. */
  async asked(): Promise<{ path: string; carried: string }[]> {
    return jsonLines(await this.kubectl('-n', UPSTREAM_NAMESPACE, 'logs', 'upstream'));
  }

  async logs(name: string): Promise<string> {
    return this.kubectl('-n', NAMESPACE, 'logs', name, '-c', 'agent');
  }

  /** The metrics of all pods of a part. */
  async metrics(part: string): Promise<string> {
    const selector = `app.kubernetes.io/component=${part}`;
    const names = await this.kubectl(
      ...['-n', SYSTEM_NAMESPACE, 'get', 'pods', '-l', selector, '-o', 'jsonpath={.items[*].metadata.name}'],
    );
    const pods = names.split(' ').filter((name) => name !== '');
    const path = (name: string) => `/api/v1/namespaces/${SYSTEM_NAMESPACE}/pods/${name}:9090/proxy/metrics`;
    return (await Promise.all(pods.map((name) => this.kubectl('get', '--raw', path(name))))).join('\n');
  }

  stop(): Promise<void> {
    return this.cluster.stop();
  }

  async #prepare(): Promise<void> {
    const header = (kind: string) => ({
      apiVersion: 'sidekey.dev/v1alpha1',
      kind,
      metadata: { name: 'key', namespace: NAMESPACE },
    });
    await this.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } });
    await this.kubectl(
      ...['-n', NAMESPACE, 'create', 'rolebinding', 'sidekey', '--clusterrole=sidekey-secret-reader'],
      `--serviceaccount=${SYSTEM_NAMESPACE}:sidekey-operator`,
    );
    await until('the ServiceAccount', async () => {
      const { code } = await this.cluster.kubectl(['-n', NAMESPACE, 'get', 'serviceaccount', 'default']);
      return code === 0;
    });
    await this.apply(
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: SECRET, namespace: NAMESPACE },
        stringData: { value: 'the-first-key-of-the-bench' },
      },
      {
        ...header('Credential'),
        spec: { source: { secret: { name: SECRET, key: 'value' } }, hosts: [hostOf('api')] },
      },
      {
        ...header('Integration'),
        spec: {
          credentialRef: { name: 'key' },
          hosts: [hostOf('api')],
          inject: [{ bearer: {} }],
          subjects: { tags: ['llm'] },
          allowedNetworks: NETWORKS,
        },
      },
    );
    await this.kubectl('-n', NAMESPACE, 'wait', 'integration/key', '--for=condition=Ready', '--timeout=60s');
  }
}

/** Of a text, the lines that are JSON objects. */
export function jsonLines<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as T);
}

/** @throws Error after `limitMs` */
export async function until(what: string, ask: () => Promise<boolean>, limitMs = 60_000): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await ask())) {
    if (performance.now() > endMs) throw new Error(`${what}: not so after ${limitMs / 1000} s`);
    await delay(POLL_MS);
  }
}
