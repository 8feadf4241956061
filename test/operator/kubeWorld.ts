import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AdminCredential, AdminSession, JoinTokenAnswer } from '../../api/admin.ts';
import type { Condition, ObjectStatus } from '../../api/condition.ts';
import type { KubeClient } from '../../lib/kube/client.ts';
import { ControlPlane } from '../cluster/controlPlane.ts';
import { admin, anonymous, clientKey, json } from '../store/storeClient.ts';
import { StoreProcess } from '../store/storeProcess.ts';

const CHILD = new URL('./replicaChild.ts', import.meta.url).pathname;
const CRDS = ['credentials', 'integrations'];
export const SYSTEM = 'sidekey-system';
const API = '/apis/sidekey.dev/v1alpha1';
const RBAC = '/apis/rbac.authorization.k8s.io/v1';

/** What the operator may do: as the chart gives it. */
const CLUSTER_RULES = [
  { apiGroups: ['sidekey.dev'], resources: ['credentials', 'integrations'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: ['sidekey.dev'], resources: ['credentials'], verbs: ['patch'] },
  { apiGroups: ['sidekey.dev'], resources: ['credentials/status', 'integrations/status'], verbs: ['patch'] },
  { apiGroups: [''], resources: ['namespaces', 'pods'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create'] },
];
const LOCAL_RULES = [
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
  {
    apiGroups: ['coordination.k8s.io'],
    resources: ['leases'],
    resourceNames: ['sidekey-operator'],
    verbs: ['get', 'update'],
  },
  { apiGroups: [''], resources: ['configmaps'], resourceNames: ['sidekey-trust'], verbs: ['get', 'list', 'watch'] },
];

/** A real API server with our CRDs, a real store, and operators as processes with the rights that they have in a cluster. */
export class KubeWorld {
  readonly plane: ControlPlane;
  readonly client: KubeClient;
  readonly dir: string;
  store: StoreProcess;
  readonly #operators: OperatorReplica[] = [];

  private constructor(plane: ControlPlane, store: StoreProcess, dir: string) {
    this.plane = plane;
    this.client = plane.client();
    this.store = store;
    this.dir = dir;
  }

  static async start(options: { controllers?: boolean } = {}): Promise<KubeWorld> {
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-kube-'));
    const [plane, store] = await Promise.all([ControlPlane.start(options), StoreProcess.start(join(dir, 'store'))]);
    const world = new KubeWorld(plane, store, dir);
    await world.#prepare();
    return world;
  }

  async stop(): Promise<void> {
    for (const operator of this.#operators) if (process.env.DEBUG) console.log(operator.log);
    for (const operator of this.#operators) await operator.kill();
    await this.store.kill();
    await this.plane.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  async namespace(name: string, options: { secrets?: boolean; labels?: Record<string, string> } = {}): Promise<void> {
    await this.client.create('/api/v1/namespaces', { metadata: { name, labels: options.labels } });
    if (options.secrets !== false) await this.allowSecrets(name);
  }

  async allowSecrets(namespace: string): Promise<void> {
    await this.client.create(`${RBAC}/namespaces/${namespace}/rolebindings`, {
      metadata: { name: 'sidekey' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'sidekey-secret-reader' },
      subjects: [{ kind: 'ServiceAccount', name: 'sidekey-operator', namespace: SYSTEM }],
    });
  }

  async secret(namespace: string, name: string, value: string): Promise<void> {
    await this.client.apply(
      `/api/v1/namespaces/${namespace}/secrets/${name}`,
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name, namespace },
        data: { key: Buffer.from(value).toString('base64') },
      },
      'test',
    );
  }

  async credential(
    namespace: string,
    name: string,
    source: object = { secret: { name: 'keys', key: 'key' } },
  ): Promise<void> {
    await this.#apply(namespace, 'Credential', name, { source, hosts: ['api.example.com'] });
  }

  async integration(namespace: string, name: string, credential = 'key'): Promise<void> {
    await this.#apply(namespace, 'Integration', name, {
      credentialRef: { name: credential },
      hosts: ['api.example.com'],
      inject: [{ bearer: {} }],
      subjects: { tags: ['llm'] },
    });
  }

  async pod(namespace: string, name: string, labels: Record<string, string>): Promise<string> {
    const pod = await this.client.create<{ metadata: { uid: string } }>(`/api/v1/namespaces/${namespace}/pods`, {
      metadata: { name, labels: { 'sidekey.dev/inject': 'true', ...labels } },
      spec: {
        containers: [{ name: 'agent', image: 'agent' }],
        terminationGracePeriodSeconds: 0,
        automountServiceAccountToken: false,
      },
    });
    return pod.metadata.uid;
  }

  async status(kind: 'Credential' | 'Integration', namespace: string, name: string): Promise<ObjectStatus | undefined> {
    const object = await this.client.get<{ status?: ObjectStatus }>(pathOf(kind, namespace, name));
    return object.status;
  }

  async ready(kind: 'Credential' | 'Integration', namespace: string, name: string): Promise<Condition | undefined> {
    const status = await this.status(kind, namespace, name);
    return status?.conditions.find(({ type }) => type === 'Ready');
  }

  async remove(kind: 'Credential' | 'Integration', namespace: string, name: string): Promise<void> {
    await this.client.delete(pathOf(kind, namespace, name));
  }

  /** What the store holds, by key. */
  async stored(): Promise<Map<string, AdminCredential>> {
    const answer = await admin(this.store, 'GET', '/v1/admin/credentials');
    return new Map(answer.json<AdminCredential[]>().map((credential) => [credential.key, credential]));
  }

  async sessions(): Promise<AdminSession[]> {
    return (await admin(this.store, 'GET', '/v1/admin/sessions')).json<AdminSession[]>();
  }

  async joinToken(request: object): Promise<string> {
    const answer = await admin(this.store, 'POST', '/v1/admin/join-tokens', json(request));
    return answer.json<JoinTokenAnswer>().joinToken;
  }

  /** A session of that pod, as its sidecar would have it. */
  async session(namespace: string, pod: { name: string; uid: string }, tags: string[]): Promise<void> {
    const session = { namespace, serviceAccount: 'default', tags, requester: 'jane', pod };
    const body = {
      joinToken: await this.joinToken({ kind: 'session', session }),
      publicKeyPem: clientKey().publicKeyPem,
    };
    await anonymous(this.store).call('POST', '/v1/join', json(body));
  }

  /** Starts one more operator, from the sources unless `command` says what Node is to run. */
  async operator(
    identity = `operator-${this.#operators.length}`,
    command: readonly string[] = [CHILD],
  ): Promise<OperatorReplica> {
    const dir = mkdtempSync(join(this.dir, 'operator-'));
    const { status } = await this.client.create<{ status: { token: string } }>(
      `/api/v1/namespaces/${SYSTEM}/serviceaccounts/sidekey-operator/token`,
      { spec: { expirationSeconds: 3_600 } },
    );
    const files = { caFile: join(dir, 'ca.crt'), tokenFile: join(dir, 'token') };
    writeFileSync(files.caFile, this.plane.authority.caPem);
    writeFileSync(files.tokenFile, status.token);
    const config = {
      part: 'operator',
      storeUrl: this.store.storeUrl,
      metricsHost: '127.0.0.1',
      metricsPort: 0,
      tokenFile: join(dir, 'join-token'),
      kubernetes: { namespace: SYSTEM, identity, apiServer: { url: this.plane.url, ...files } },
    };
    writeFileSync(config.tokenFile, await this.joinToken({ kind: 'operator' }));
    writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
    const operator = new OperatorReplica([...command, join(dir, 'config.json')], config.tokenFile);
    this.#operators.push(operator);
    return operator;
  }

  async #apply(namespace: string, kind: 'Credential' | 'Integration', name: string, spec: object): Promise<void> {
    const body = { apiVersion: 'sidekey.dev/v1alpha1', kind, metadata: { name, namespace }, spec };
    await this.client.apply(pathOf(kind, namespace, name), body, 'test');
  }

  async #prepare(): Promise<void> {
    for (const plural of CRDS) {
      const file = new URL(`../../crds/${plural}.sidekey.dev.yaml`, import.meta.url).pathname;
      const { code, stderr } = await this.plane.kubectl(['apply', '--server-side', '-f', file]);
      if (code !== 0) throw new Error(stderr);
    }
    const { code, stderr } = await this.plane.kubectl([
      'wait',
      '--for=condition=Established',
      '--timeout=30s',
      ...CRDS.map((plural) => `crd/${plural}.sidekey.dev`),
    ]);
    if (code !== 0) throw new Error(stderr);
    await this.client.create('/api/v1/namespaces', { metadata: { name: SYSTEM } });
    await this.client.create(`/api/v1/namespaces/${SYSTEM}/serviceaccounts`, {
      metadata: { name: 'sidekey-operator' },
    });
    const subjects = [{ kind: 'ServiceAccount', name: 'sidekey-operator', namespace: SYSTEM }];
    const named = { metadata: { name: 'sidekey-operator' } };
    const refer = (kind: string) => ({ apiGroup: 'rbac.authorization.k8s.io', kind, name: 'sidekey-operator' });
    await this.client.create(`${RBAC}/clusterroles`, { ...named, rules: CLUSTER_RULES });
    await this.client.create(`${RBAC}/clusterrolebindings`, { ...named, roleRef: refer('ClusterRole'), subjects });
    await this.client.create(`${RBAC}/namespaces/${SYSTEM}/roles`, { ...named, rules: LOCAL_RULES });
    await this.client.create(`${RBAC}/namespaces/${SYSTEM}/rolebindings`, {
      ...named,
      roleRef: refer('Role'),
      subjects,
    });
    await this.client.create(`${RBAC}/clusterroles`, {
      metadata: { name: 'sidekey-secret-reader' },
      rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get', 'list', 'watch'] }],
    });
    await this.client.create(`/api/v1/namespaces/${SYSTEM}/configmaps`, {
      metadata: { name: 'sidekey-trust' },
      data: { 'ca.pem': this.store.trustBundlePem },
    });
  }
}

/** One operator of a cluster as a process. */
export class OperatorReplica {
  readonly child: ChildProcess;
  /** Where it finds what it joins the store by. */
  readonly joinTokenFile: string;
  readonly #log: string[] = [];

  /** `args`: of Node. */
  constructor(args: readonly string[], joinTokenFile: string) {
    this.joinTokenFile = joinTokenFile;
    this.child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => this.#log.push(text));
  }

  get log(): string {
    return this.#log.join('');
  }

  /** Of its metrics and probes. */
  async metrics(path = '/metrics'): Promise<{ status: number; text: string }> {
    const port = /"port":(\d+)/.exec(this.log)?.[1];
    const answer = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: answer.status, text: await answer.text() };
  }

  get residentMegabytes(): number {
    const text = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+)/m.exec(text)![1]) / 1_024;
  }

  async stop(): Promise<number | null> {
    return this.#end('SIGTERM');
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exit = once(this.child, 'exit');
      this.child.kill(signal);
      await exit;
    }
    return this.child.exitCode;
  }
}

function pathOf(kind: 'Credential' | 'Integration', namespace: string, name: string): string {
  return `${API}/namespaces/${namespace}/${kind.toLowerCase()}s/${name}`;
}
