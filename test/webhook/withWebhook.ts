import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { parseAllDocuments } from 'yaml';
import { systemClock } from '../../lib/clock.ts';
import type { KubeClient } from '../../lib/kube/client.ts';
import { NODE_ARGS } from '../../lib/nodeArgs.ts';
import { generateP256, issueCertificate, toPem } from '../../lib/x509.ts';
import { WebhookTls, type WebhookTlsSettings } from '../../operator/webhookTls/webhookTls.ts';
import type { ControlPlane } from '../cluster/controlPlane.ts';
import { helm } from '../cluster/kubectl.ts';
import { freePorts } from '../cluster/ports.ts';
import { startWithCrds } from '../crds/withCrds.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const MAIN = join(ROOT, 'webhook', 'main.ts');
const RELEASE_NAMESPACE = 'sidekey-system';
const CONFIGURATION = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/sidekey';
const SECRET = `/api/v1/namespaces/${RELEASE_NAMESPACE}/secrets/sidekey-webhook-tls`;
export const NAMESPACE = 'agents';
export const IMAGE = `sidekey.test/sidekey@sha256:${'0'.repeat(64)}`;
const READY_MS = 20_000;
const DAY_MS = 24 * 3_600_000;
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

interface Rendered {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  data?: Record<string, string>;
  webhooks?: { clientConfig: object }[];
}

/** The webhook as a process, as the chart makes it, but called by URL: there are no nodes. */
export class RunningWebhook {
  readonly plane: ControlPlane;
  readonly admin: KubeClient;
  readonly log: string[] = [];
  readonly #dir: string;
  readonly #ports: { review: number; metrics: number };
  #child: ChildProcess | undefined;
  #tls: WebhookTls | undefined;

  private constructor(plane: ControlPlane, dir: string, ports: { review: number; metrics: number }) {
    this.plane = plane;
    this.admin = plane.client();
    this.#dir = dir;
    this.#ports = ports;
  }

  /** With users jane and bob, who may do everything in the namespace. It has no certificate yet. */
  static async start(): Promise<RunningWebhook> {
    const plane = await startWithCrds(NAMESPACE, RELEASE_NAMESPACE);
    const [review, metrics] = (await freePorts(2)) as [number, number];
    const webhook = new RunningWebhook(plane, mkdtempSync(join(tmpdir(), 'sidekey-webhook-')), { review, metrics });
    await webhook.#prepare();
    await webhook.run();
    return webhook;
  }

  get configurationPath(): string {
    return CONFIGURATION;
  }

  get secretPath(): string {
    return SECRET;
  }

  async stop(): Promise<void> {
    this.#tls?.close();
    await this.kill('SIGKILL');
    await this.plane.stop();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Starts the process, and waits until it is ready; not for that while it has no certificate. */
  async run(): Promise<void> {
    const args = [...NODE_ARGS.webhook, MAIN, '--config', join(this.#dir, 'config.json')];
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => this.log.push(text));
    await until(() => this.probe('/healthz').then((status) => status === 200));
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null) return child?.exitCode ?? null;
    const ended = once(child, 'exit');
    child.kill(signal);
    return ((await ended) as [number | null])[0];
  }

  /** The status of `/healthz` or `/readyz`; 0 if nobody answers. */
  async probe(path: string): Promise<number> {
    return fetch(`http://127.0.0.1:${this.#ports.metrics}${path}`).then(
      (answer) => answer.arrayBuffer().then(() => answer.status),
      () => 0,
    );
  }

  /** Sends a body to it as the API server does. */
  async post(body: string): Promise<{ status: number; text: string }> {
    const { data } = await this.admin.get<{ data: Record<string, string> }>(SECRET);
    const ca = Buffer.from(data['ca.crt']!, 'base64').toString();
    const agent = new Agent({ connect: { ca } });
    const url = `https://127.0.0.1:${this.#ports.review}/mutate`;
    const headers = { 'content-type': 'application/json' };
    const answer = await request(url, { dispatcher: agent, method: 'POST', headers, body });
    const text = await answer.body.text();
    await agent.destroy();
    return { status: answer.statusCode, text };
  }

  async metrics(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.#ports.metrics}/metrics`)).text();
  }

  /** What looks after the certificate, from now on; `issuedDaysAgo` moves its clock. Resolves once pods are admitted. */
  async lookAfterTls(settings: Partial<WebhookTlsSettings> = {}, issuedDaysAgo = 0): Promise<void> {
    this.#tls?.close();
    this.#tls = new WebhookTls({
      client: this.admin,
      clock: { ...systemClock, nowMs: () => Date.now() - issuedDaysAgo * DAY_MS },
      log: SILENT,
      settings: {
        namespace: RELEASE_NAMESPACE,
        secret: 'sidekey-webhook-tls',
        configuration: 'sidekey',
        service: 'sidekey-webhook',
        ipAddresses: ['127.0.0.1'],
        seenMs: 1_000,
        endpoints: async () => [{ host: '127.0.0.1', port: this.#ports.review }],
        ...settings,
      },
    });
    this.#tls.start();
    await this.working();
  }

  async working(): Promise<void> {
    await until(async () => (await this.probe('/readyz')) === 200);
    const pods = `/api/v1/namespaces/${NAMESPACE}/pods?dryRun=All`;
    await until(() =>
      this.admin.create(pods, agentPod('probe')).then(
        () => true,
        () => false,
      ),
    );
  }

  /** Its objects of the chart, and its identity: a token of its ServiceAccount. */
  async #prepare(): Promise<void> {
    const objects = await render();
    for (const object of objects) {
      if (object.webhooks !== undefined) {
        for (const hook of object.webhooks)
          hook.clientConfig = { url: `https://127.0.0.1:${this.#ports.review}/mutate` };
      }
      await this.admin.apply(pathOf(object), object, 'helm');
    }
    await this.admin.create(`/api/v1/namespaces/${NAMESPACE}/serviceaccounts`, { metadata: { name: 'default' } });
    await this.admin.create(`/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE}/rolebindings`, {
      metadata: { name: 'people' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: ['jane@example.com', 'bob'].map((name) => ({
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'User',
        name,
      })),
    });
    await this.admin.create(`/api/v1/namespaces/${RELEASE_NAMESPACE}/configmaps`, {
      metadata: { name: 'sidekey-trust' },
      data: { 'ca.pem': selfSigned() },
    });
    const { status } = await this.admin.create<{ status: { token: string } }>(
      `/api/v1/namespaces/${RELEASE_NAMESPACE}/serviceaccounts/sidekey-webhook/token`,
      { spec: {} },
    );
    const tokenFile = join(this.#dir, 'token');
    writeFileSync(tokenFile, status.token, { mode: 0o600 });
    const rendered = objects.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === 'sidekey-webhook');
    const config = JSON.parse(rendered!.data!['config.json']!);
    config.listenHost = '127.0.0.1';
    config.metricsHost = '127.0.0.1';
    config.listenPort = this.#ports.review;
    config.metricsPort = this.#ports.metrics;
    config.kubernetes.apiServer = { url: this.plane.url, caFile: this.plane.authority.caFile, tokenFile };
    writeFileSync(join(this.#dir, 'config.json'), JSON.stringify(config));
  }
}

/** A pod that wants a sidecar. */
export function agentPod(
  name: string,
  changes: { labels?: object; annotations?: object; env?: object[] } = {},
): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      labels: { 'sidekey.dev/inject': 'true', 'tag.sidekey.dev/llm': '', ...changes.labels },
      ...(changes.annotations && { annotations: changes.annotations }),
    },
    spec: { containers: [{ name: 'agent', image: 'agent', ...(changes.env && { env: changes.env }) }] },
  };
}

export async function until(holds: () => Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + READY_MS;
  while (!(await holds())) {
    if (performance.now() > untilMs) throw new Error('it did not come about in 20 seconds');
    await delay(50);
  }
}

/** What the chart has of the webhook. */
async function render(): Promise<Rendered[]> {
  const cacheDir = mkdtempSync(join(tmpdir(), 'sidekey-helm-'));
  const [repository, digest] = IMAGE.split('@');
  const chart = join(ROOT, 'charts', 'sidekey');
  const set = `image.repository=${repository},image.digest=${digest}`;
  const { code, stderr, stdout } = await helm(
    ['template', 'sidekey', chart, '--namespace', RELEASE_NAMESPACE, '--set', set],
    { kubeconfigFile: '', cacheDir },
  );
  rmSync(cacheDir, { recursive: true });
  if (code !== 0) throw new Error(`helm: ${stderr}`);
  const kinds = ['ServiceAccount', 'ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding', 'ConfigMap'];
  return parseAllDocuments(stdout)
    .map((document) => document.toJS() as Rendered | null)
    .filter((object) => object !== null)
    .filter(
      ({ kind, metadata }) =>
        kind === 'MutatingWebhookConfiguration' || (kinds.includes(kind) && metadata.name === 'sidekey-webhook'),
    );
}

function pathOf({ apiVersion, kind, metadata: { name, namespace } }: Rendered): string {
  const api = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const within = namespace === undefined ? '' : `/namespaces/${namespace}`;
  return `${api}${within}/${kind.toLowerCase()}s/${name}`;
}

function selfSigned(): string {
  const { privateKey, publicKey } = generateP256();
  const commonName = 'Sidekey root';
  const notAfter = new Date(Date.now() + DAY_MS);
  const request = { commonName, publicKey, notBefore: new Date(), notAfter, issuer: { commonName, privateKey } };
  return toPem(issueCertificate({ ...request, ca: { pathLength: 1 } }).der);
}
