import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { inject } from 'vitest';
import type { ClusterUser } from '../authority.ts';
import { clientBinary } from '../binaries.ts';
import { type Cluster, startCluster } from '../cluster.ts';
import { jsonLines } from '../jsonLines.ts';
import { type CommandResult, run } from '../kubectl.ts';
import { makeNamespace } from './madeNamespace.ts';
import { SYSTEM_NAMESPACE } from './release.ts';
import { hostOf, NETWORKS, UPSTREAM_NAMESPACE } from './upstreamPod.ts';

const POLL_MS = 100;
const PLUGIN = new URL('../../../bin/kubectl-sidekey', import.meta.url).pathname;

/** What the upstream says of a request. */
export interface Seen {
  atMs: number;
  method: string;
  host: string;
  path: string;
  carried: string;
}

export interface AgentOptions {
  name: string;
  namespace: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  /** Of Node, as an ES module; the pod ends with it. */
  script?: string;
  command?: string[];
  env?: { name: string; value: string }[];
  volumeMounts?: { name: string; mountPath: string }[];
  /** More of the pod's spec. */
  spec?: object;
}

/** The cluster that setup.ts made, as a test uses it. */
export class World {
  readonly cluster: Cluster;

  private constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  static async open(): Promise<World> {
    process.env.SIDEKEY_E2E_KUBECONFIG = inject('kubeconfigFile');
    return new World(await startCluster());
  }

  close(): Promise<void> {
    return this.cluster.stop();
  }

  /** @throws Error with what kubectl says */
  async kubectl(args: readonly string[], options: { user?: ClusterUser; input?: string } = {}): Promise<string> {
    const { code, stderr, stdout } = await this.cluster.kubectl(args, options);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** Whatever comes of it. */
  attempt(args: readonly string[], options: { user?: ClusterUser; input?: string } = {}): Promise<CommandResult> {
    return this.cluster.kubectl(args, options);
  }

  apply(...objects: object[]): Promise<string> {
    return this.kubectl(['apply', '-f', '-'], {
      input: objects.map((object) => JSON.stringify(object)).join('\n---\n'),
    });
  }

  /** A namespace whose Secrets the operator may read. */
  async namespace(name: string, labels: Record<string, string> = {}): Promise<void> {
    await makeNamespace(this.cluster, name, labels);
    await this.kubectl([
      ...['-n', name, 'create', 'rolebinding', 'sidekey', '--clusterrole=sidekey-secret-reader'],
      `--serviceaccount=${SYSTEM_NAMESPACE}:sidekey-operator`,
    ]);
    await until(async () => (await this.attempt(['-n', name, 'get', 'serviceaccount', 'default'])).code === 0);
  }

  /** A Secret `NAME` with that value, a Credential `NAME` of it, and an Integration `NAME`, Ready. */
  async grant(
    namespace: string,
    name: string,
    value: string,
    options: { host?: 'api' | 'other' | 'third'; credential?: object; integration?: object } = {},
  ): Promise<void> {
    const host = hostOf(options.host ?? 'api');
    await this.setSecret(namespace, name, value);
    await this.apply(
      {
        ...header('Credential', namespace, name),
        spec: { source: { secret: { name, key: 'value' } }, hosts: [host], ...options.credential },
      },
      {
        ...header('Integration', namespace, name),
        spec: {
          credentialRef: { name },
          hosts: [host],
          alias: name,
          inject: [{ bearer: {} }],
          subjects: { tags: ['llm'] },
          allowedNetworks: NETWORKS,
          ...options.integration,
        },
      },
    );
    await this.kubectl(['-n', namespace, 'wait', `integration/${name}`, '--for=condition=Ready', '--timeout=30s']);
  }

  async setSecret(namespace: string, name: string, value: string): Promise<void> {
    await this.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, stringData: { value } });
  }

  /** The pod of an agent, as a template has it. */
  agentTemplate(options: Omit<AgentOptions, 'name' | 'namespace'>): { metadata: object; spec: object } {
    const { annotations, command, env, labels, script, spec, volumeMounts } = options;
    return {
      metadata: { labels: { 'sidekey.dev/inject': 'true', 'tag.sidekey.dev/llm': 'true', ...labels }, annotations },
      spec: {
        terminationGracePeriodSeconds: 2,
        containers: [
          {
            name: 'agent',
            image: inject('agentImage'),
            imagePullPolicy: 'IfNotPresent',
            command: command ?? [
              '/usr/local/bin/node',
              '--input-type=module',
              '--eval',
              script ?? 'setInterval(() => {}, 1e6)',
            ],
            env,
            volumeMounts,
            securityContext: RESTRICTED,
          },
        ],
        ...spec,
      },
    };
  }

  /** Makes the pod of an agent. */
  async agent(options: AgentOptions): Promise<void> {
    const { metadata, spec } = this.agentTemplate(options);
    const { name, namespace } = options;
    await this.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, name, namespace },
      spec: { restartPolicy: 'Never', ...spec },
    });
  }

  /** Until the pod's containers have done their work. Gives the agent's output. */
  async ended(namespace: string, name: string, phase = 'Succeeded'): Promise<string> {
    await until(async () => {
      const now = await this.kubectl(['-n', namespace, 'get', 'pod', name, '-o', 'jsonpath={.status.phase}']);
      if (now !== phase && (now === 'Failed' || now === 'Succeeded'))
        throw new Error(`${name} ended ${now}: ${await this.logs(namespace, name)}`);
      return now === phase;
    }, 90_000);
    return this.logs(namespace, name);
  }

  async running(namespace: string, name: string): Promise<void> {
    await this.kubectl(['-n', namespace, 'wait', `pod/${name}`, '--for=condition=Ready', '--timeout=60s']);
  }

  async logs(namespace: string, name: string, container = 'agent'): Promise<string> {
    return (await this.attempt(['-n', namespace, 'logs', name, '-c', container])).stdout;
  }

  /** What an agent says in its log, a JSON object a line; `of`: a pod, or `deployment/NAME`. */
  async said<T>(namespace: string, of: string): Promise<T[]> {
    return jsonLines<T>(await this.logs(namespace, of));
  }

  /** A command in the agent's container; its output, whatever its exit code. */
  async exec(namespace: string, name: string, ...command: string[]): Promise<CommandResult> {
    return this.attempt(['-n', namespace, 'exec', name, '-c', 'agent', '--', ...command]);
  }

  /** `kubectl sidekey`, as an administrator of the cluster runs it. */
  sidekey(args: readonly string[]): Promise<CommandResult> {
    return run(PLUGIN, args, { kubeconfigFile: this.cluster.kubeconfigFile });
  }

  /** As `sidekey`, until it succeeds. @throws Error with what it said last */
  async sidekeyDone(args: readonly string[], limitMs = 60_000): Promise<void> {
    let last: CommandResult | undefined;
    const done = async () => {
      last = await this.sidekey(args);
      return last.code === 0;
    };
    await until(done, limitMs).catch(async () => {
      const pods = await this.kubectl(['-n', SYSTEM_NAMESPACE, 'get', 'pods']);
      throw new Error(`sidekey ${args.join(' ')}: exit code ${last?.code}: ${last?.stderr}${pods}`);
    });
  }

  /** The port of the store for sidecars, from here, until it is disposed of. */
  async reachStore(): Promise<{ storeUrl: string; trustBundlePem: string } & AsyncDisposable> {
    const trust = ['-n', SYSTEM_NAMESPACE, 'get', 'configmap', 'sidekey-trust', '-o', 'jsonpath={.data.ca\\.pem}'];
    const trustBundlePem = await this.kubectl(trust);
    const args = ['-n', SYSTEM_NAMESPACE, 'port-forward', 'service/sidekey-store', ':8443'];
    const env = { ...process.env, KUBECONFIG: this.cluster.kubeconfigFile };
    const forward = spawn(await clientBinary('kubectl'), args, { stdio: ['ignore', 'pipe', 'inherit'], env });
    const [line] = (await once(forward.stdout.setEncoding('utf8'), 'data')) as [string];
    const port = /^Forwarding from 127\.0\.0\.1:(\d+)/.exec(line)?.[1];
    return {
      storeUrl: `https://127.0.0.1:${port}`,
      trustBundlePem,
      async [Symbol.asyncDispose]() {
        forward.kill();
        if (forward.exitCode === null) await once(forward, 'exit');
      },
    };
  }

  /** What the upstream has seen, of the last minutes, with that text in what it carried. */
  async seen(carried: string): Promise<Seen[]> {
    const text = await this.kubectl(['-n', UPSTREAM_NAMESPACE, 'logs', 'upstream', '--since=10m']);
    return jsonLines<Seen>(text).filter((seen) => seen.carried.includes(carried));
  }
}

export const RESTRICTED = {
  allowPrivilegeEscalation: false,
  runAsNonRoot: true,
  runAsUser: 65_532,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};

function header(kind: string, namespace: string, name: string): object {
  return { apiVersion: 'sidekey.dev/v1alpha1', kind, metadata: { name, namespace } };
}

/** Asks until the answer is truthy. @throws Error after `limitMs` */
export async function until<T>(ask: () => Promise<T | undefined | false | ''>, limitMs = 30_000): Promise<T> {
  const untilMs = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (performance.now() > untilMs) throw new Error(`not so after ${limitMs / 1000} s: ${ask}`);
    await delay(POLL_MS);
  }
}
