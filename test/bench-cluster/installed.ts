import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '../../lib/kube/client.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { makeNamespace } from '../cluster/e2e/madeNamespace.ts';
import { installRelease, SYSTEM_NAMESPACE } from '../cluster/e2e/release.ts';
import { leave } from '../cluster/e2e/traces.ts';
import { hostOf, NETWORKS, startUpstream, UPSTREAM_NAMESPACE } from '../cluster/e2e/upstreamPod.ts';
import { startVacantCluster } from '../cluster/e2e/vacantCluster.ts';
import { jsonLines } from '../cluster/jsonLines.ts';

export const NAMESPACE = 'bench';
export const SECRET = 'key';
/** What agents of the bench call. */
export const TARGET = `https://${hostOf('api')}`;
const POLL_MS = 100;

/** A cluster with Sidekey in it, an upstream, and one Integration for the agents of the bench. */
export class Installed {
  readonly cluster: Cluster;
  readonly client: KubeClient;
  readonly agentImage: string;
  readonly #say: (line: string) => void;

  private constructor(cluster: Cluster, client: KubeClient, image: string, say: (line: string) => void) {
    this.cluster = cluster;
    this.client = client;
    this.agentImage = image;
    this.#say = say;
  }

  static async start(say: (line: string) => void): Promise<Installed> {
    const { agent, cluster, sidekey } = await startVacantCluster(say);
    try {
      const { caPem } = await startUpstream(cluster, agent);
      say('the upstream is ready; Sidekey is installed …');
      // What a pod asks for must not be what ends a rollout on a node of two cores.
      const flags = ['--set', 'sidecar.resources.requests.cpu=1m'];
      await installRelease(cluster, { image: sidekey, extraCaPem: caPem }, flags);
      const installed = new Installed(cluster, await cluster.client(), agent, say);
      await installed.#prepare();
      return installed;
    } catch (error) {
      await leave(cluster, say).catch((left: Error) => say(left.message));
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
    return leave(this.cluster, this.#say);
  }

  async #prepare(): Promise<void> {
    const header = (kind: string) => ({
      apiVersion: 'sidekey.dev/v1alpha1',
      kind,
      metadata: { name: 'key', namespace: NAMESPACE },
    });
    await makeNamespace(this.cluster, NAMESPACE);
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

/** @throws Error after `limitMs` */
export async function until(what: string, ask: () => Promise<boolean>, limitMs = 60_000): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await ask())) {
    if (performance.now() > endMs) throw new Error(`${what}: not so after ${limitMs / 1000} s`);
    await delay(POLL_MS);
  }
}
