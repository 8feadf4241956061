import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Access, openAccess } from '../../cli/cluster/access.ts';
import type { Finding } from '../../cli/cluster/finding.ts';
import { release } from '../../cli/cluster/release.ts';
import { clusterDoctor } from '../../cli/commands/cluster/doctor.ts';
import { Context } from '../../cli/context.ts';
import type { KubeClient } from '../../lib/kube/client.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { VERSION } from '../../lib/version.ts';
import { generateP256, issueCertificate, toPem } from '../../lib/x509.ts';
import { AGENTS_NAMESPACE, Installation } from '../chart/installed.ts';
import { CHART, RELEASE_NAMESPACE } from '../chart/render.ts';
import { deleteKinds } from '../cluster/kinds.ts';
import { StoreProcess } from '../store/storeProcess.ts';
import { ExecFront } from './execFront.ts';

const START_LIMIT_MS = 20 * 60_000;
const DELETION_LIMIT_MS = 150_000;
const DAY_MS = 86_400_000;
const ADMIN_BRIDGE = new URL('../../store/adminBridge.ts', import.meta.url).pathname;
const ADMISSION = '/apis/admissionregistration.k8s.io/v1';
const CONFIGURATION = `${ADMISSION}/mutatingwebhookconfigurations/keys`;
const OLD = 'old';
const LEFT_OUT = 'left-out';
const RESTRICTED = {
  securityContext: {
    runAsNonRoot: true,
    runAsUser: 1,
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  },
};

let installation: Installation;
let admin: KubeClient;
let access: Access;

/** The release is not called sidekey, and its sidecars have an image of their own; nothing of it runs, as there are no nodes. */
beforeAll(async () => {
  installation = await Installation.prepare();
  admin = installation.plane.client();
  access = await openAccess({ kubeconfig: installation.plane.kubeconfigFile });
  for (const name of [OLD, LEFT_OUT]) {
    await admin.create('/api/v1/namespaces', { metadata: { name } });
    await admin.create(`/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: 'default' } });
  }
  // Before there is a webhook to ask.
  await agent(OLD, 'bare');
  await agent(OLD, 'ended', { phase: 'Succeeded' });
  await agent(OLD, 'windows', { spec: { os: { name: 'windows' } } });
  await agent(LEFT_OUT, 'beyond');
  await agent(OLD, 'current', { sidecar: 'mirror.example.com/team/sidecar:2' });
  await agent(OLD, 'older', { sidecar: 'team/sidecar:1' });
  await installation.helm(
    'install',
    'sidekey',
    CHART,
    '--set',
    `fullnameOverride=keys,sidecar.image=team/sidecar:2,webhook.timeoutSeconds=1,webhook.excludedNamespaces={${LEFT_OUT}}`,
  );
  for (const component of ['store', 'operator', 'webhook']) await part(component, `keys-${component}-a`);
}, START_LIMIT_MS);
afterAll(async () => {
  await access?.client.close();
  await installation?.plane.stop();
});

/** What doctor finds, of one check if that is named. */
async function doctor(check?: string, { agents = AGENTS_NAMESPACE, by = access } = {}): Promise<Finding[]> {
  let text = '';
  const out = new Writable({
    write: (chunk, _encoding, done) => {
      text += chunk;
      done();
    },
  });
  const terminal = { out, err: out, outIsTerminal: false, errIsTerminal: false, env: {} };
  await clusterDoctor(new Context({ output: 'json', terminal }), by, agents).catch((error) => {
    if (error.code !== 'CheckFailed') throw error;
  });
  const findings = JSON.parse(text) as Finding[];
  return check === undefined ? findings : findings.filter((finding) => finding.check === check);
}

interface PodChanges {
  image?: string;
  version?: string;
  ready?: boolean;
}

/** A pod of the release, as if a kubelet told of it. */
async function part(component: string, name: string, changes: PodChanges = {}): Promise<void> {
  const { image = 'sidekey:1.0.0', ready = true, version = VERSION } = changes;
  const labels = {
    'app.kubernetes.io/name': 'sidekey',
    'app.kubernetes.io/component': component,
    'app.kubernetes.io/version': version,
  };
  const pods = `/api/v1/namespaces/${RELEASE_NAMESPACE}/pods`;
  const containers = [{ name: component, image, ...RESTRICTED }];
  await admin.create(pods, { metadata: { name, labels }, spec: { containers } });
  const conditions = [{ type: 'Ready', status: ready ? 'True' : 'False' }];
  await admin.patch(`${pods}/${name}/status`, { status: { phase: 'Running', conditions } }, 'merge');
}

async function withoutPart(name: string): Promise<void> {
  await admin.delete(`/api/v1/namespaces/${RELEASE_NAMESPACE}/pods/${name}`, { gracePeriodSeconds: 0 });
}

/** A labelled pod. */
async function agent(
  namespace: string,
  name: string,
  { phase = 'Running', sidecar, spec = {} }: { phase?: string; sidecar?: string; spec?: object } = {},
): Promise<void> {
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  await admin.create(pods, {
    metadata: { name, labels: { 'sidekey.dev/inject': 'true' } },
    spec: {
      containers: [{ name: 'agent', image: 'agent' }],
      ...(sidecar && { initContainers: [{ name: 'sidekey', image: sidecar, restartPolicy: 'Always' }] }),
      ...spec,
    },
  });
  await admin.patch(`${pods}/${name}/status`, { status: { phase } }, 'merge');
}

function certificateUntil(endMs: number): string {
  const { privateKey, publicKey } = generateP256();
  const commonName = 'webhook CA';
  const notBefore = new Date(endMs - 90 * DAY_MS);
  const request = { commonName, publicKey, notBefore, notAfter: new Date(endMs), issuer: { commonName, privateKey } };
  return toPem(issueCertificate({ ...request, ca: { pathLength: 0 } }).der);
}

async function setCa(pem: string): Promise<void> {
  const caBundle = Buffer.from(pem).toString('base64');
  const webhooks = ['pods.sidekey.dev', 'workloads.sidekey.dev'].map((name) => ({ name, clientConfig: { caBundle } }));
  await admin.patch(CONFIGURATION, { webhooks }, 'strategic');
}

test('a part whose replicas differ, within one Deployment, is skewed', async () => {
  expect(await doctor('versions')).toEqual([{ check: 'versions', state: 'ok', message: 'every part is 1.0.0' }]);
  // Not the last one by name.
  await part('webhook', 'keys-webhook-0', { image: 'sidekey:0.9.0' });
  onTestFinished(() => withoutPart('keys-webhook-0'));
  expect(await doctor('versions')).toEqual([
    {
      check: 'versions',
      state: 'warning',
      message: 'store 1.0.0, operator 1.0.0, webhook 0.9.0 and 1.0.0',
      next: expect.stringContaining(`kubectl -n ${RELEASE_NAMESPACE} get deployments,statefulsets`),
    },
  ]);
});

test('pods that only look like ours are not taken for the release, where its own are gone', async () => {
  const labels = { 'app.kubernetes.io/name': 'sidekey', 'app.kubernetes.io/component': 'store' };
  const pods = `/api/v1/namespaces/${OLD}/pods`;
  await admin.create(pods, {
    metadata: { name: 'fake', labels },
    spec: { containers: [{ name: 'store', image: 'x' }] },
  });
  await withoutPart('keys-store-a');
  onTestFinished(async () => {
    await admin.delete(`${pods}/fake`, { gracePeriodSeconds: 0 });
    await part('store', 'keys-store-a');
  });
  await expect(release(access, 'store')).rejects.toMatchObject({
    code: 'NotInstalled',
    message: `no pods of Sidekey's store were found in namespace ${RELEASE_NAMESPACE}`,
  });
});

test('a command of another version than the parts is told', async () => {
  const names = ['store', 'operator', 'webhook'].map((component) => `keys-${component}-a`);
  const label = async (version: string) => {
    for (const name of names)
      await admin.patch(
        `/api/v1/namespaces/${RELEASE_NAMESPACE}/pods/${name}`,
        { metadata: { labels: { 'app.kubernetes.io/version': version } } },
        'merge',
      );
  };
  await label('9.0.0');
  onTestFinished(() => label(VERSION));
  expect(await doctor('versions')).toContainEqual({
    check: 'versions',
    state: 'warning',
    message: `this command is ${VERSION}, the parts are 9.0.0`,
    next: expect.stringContaining('the command of their version'),
  });
});

test('sidecars are held against the image that the webhook injects, also where it is another than that of the parts', async () => {
  const findings = [...(await doctor('sidecars')), ...(await doctor('versions'))];
  expect(findings).toEqual([
    {
      check: 'sidecars',
      state: 'warning',
      message: '1 of 2 are not 2, which new pods get: old/older has 1',
      next: expect.stringContaining('rollout restart'),
    },
    expect.objectContaining({ check: 'versions', state: 'ok' }),
  ]);
});

test('labelled pods without a sidecar are a fault, but for those that the webhook leaves out by intent', async () => {
  expect(await doctor('agent pods')).toEqual([
    {
      check: 'agent pods',
      state: 'failed',
      message: '1 labelled pods have no sidecar: old/bare',
      next: expect.stringContaining('delete them'),
    },
    { check: 'agent pods', state: 'ok', message: 'skipped: 1 for Windows, without a sidecar: old/windows' },
    {
      check: 'agent pods',
      state: 'ok',
      message: 'skipped: 1 in a namespace that the webhook leaves out, without a sidecar: left-out/beyond',
    },
  ]);
});

test('a CA that is missing, has ended or ends soon is told, with where to look under any name of the release', async () => {
  const [missing] = await doctor('webhook CA');
  expect(missing).toMatchObject({ state: 'failed', message: expect.stringContaining('has no caBundle yet') });
  expect(missing!.next).not.toContain('sidekey-operator');
  const [, selector] = / -l (\S+)/.exec(missing!.next!)!;
  const { stdout } = await installation.plane.kubectl([
    '-n',
    RELEASE_NAMESPACE,
    'get',
    'pods',
    '-l',
    selector!,
    '-o',
    'name',
  ]);
  expect(stdout.trim()).toBe('pod/keys-operator-a');
  const state = async (days: number) => {
    await setCa(certificateUntil(Date.now() + (days + 0.5) * DAY_MS));
    return (await doctor('webhook CA')).map(({ message, state }) => `${state}: ${message}`);
  };
  expect(await state(-1)).toEqual([
    'failed: the CA of keys/pods.sidekey.dev has ended',
    'failed: the CA of keys/workloads.sidekey.dev has ended',
  ]);
  expect((await state(3))[0]).toBe('warning: the CA of keys/pods.sidekey.dev ends in 3 days');
  expect((await state(80))[0]).toBe('ok: keys/pods.sidekey.dev: valid for 80 more days');
});

test('where cert-manager writes the CA, the hint leads to its Certificate', async () => {
  const annotate = (from: string | null) =>
    admin.patch(CONFIGURATION, { metadata: { annotations: { 'cert-manager.io/inject-ca-from': from } } }, 'merge');
  await setCa(certificateUntil(Date.now() - DAY_MS));
  await annotate(`${RELEASE_NAMESPACE}/keys-webhook`);
  onTestFinished(async () => void (await annotate(null)));
  const [{ next } = {}] = await doctor('webhook CA');
  expect(next).toBe(
    `cert-manager should have replaced it: kubectl -n ${RELEASE_NAMESPACE} describe certificates.cert-manager.io keys-webhook`,
  );
});

test('a webhook that cannot be reached, and a namespace that it leaves out, are told apart from other refusals', async () => {
  const injection = async (agents: string) => (await doctor('injection', { agents }))[0];
  expect(await injection(OLD)).toMatchObject({
    state: 'failed',
    message: expect.stringContaining('failed calling webhook'),
    next: expect.stringContaining('cannot reach the webhook'),
  });
  expect(await injection(LEFT_OUT)).toMatchObject({
    state: 'failed',
    message: `a labelled pod in ${LEFT_OUT} would get no sidecar`,
  });
  expect(await injection('nowhere')).toMatchObject({ state: 'unknown', message: expect.stringContaining('not found') });
});

test('policies that nothing binds, or that are bound without Deny, are named', async () => {
  expect(await doctor('policies')).toMatchObject([{ state: 'ok' }]);
  const path = `${ADMISSION}/validatingadmissionpolicybindings`;
  await admin.patch(`${path}/keys-exec`, { spec: { validationActions: ['Audit'] } }, 'merge');
  await admin.delete(`${path}/keys-isolation`);
  expect(await doctor('policies')).toMatchObject([
    { state: 'failed', message: 'not bound with Deny: keys-exec, keys-isolation' },
  ]);
});

test('a Credential whose Secret may not be read is named, with what the operator says of it', async () => {
  expect(await doctor('Secrets')).toMatchObject([{ state: 'ok' }]);
  const path = `/apis/sidekey.dev/v1alpha1/namespaces/${AGENTS_NAMESPACE}/credentials`;
  await admin.create(path, {
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Credential',
    metadata: { name: 'key' },
    spec: { source: { secret: { name: 'key', key: 'value' } }, hosts: ['api.example.com'] },
  });
  const message = 'kubectl create rolebinding …';
  const time = '2026-01-01T00:00:00Z';
  const condition = { type: 'Ready', status: 'False', reason: 'SecretForbidden', message, lastTransitionTime: time };
  await admin.patch(`${path}/key/status`, { status: { conditions: [condition] } }, 'merge');
  expect(await doctor('Secrets')).toEqual([
    { check: 'Secrets', state: 'failed', message: 'not allowed to be read for agents/key', next: message },
  ]);
});

test('a store that is sealed is told as such, with why and what to do, though no port of it can be reached', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-doctor-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  const stateDir = join(dir, 'state');
  mkdirSync(stateDir, { mode: 0o700 });
  const store = await new Promise<ChildProcess>((resolve, reject) => {
    const kek = { secretDir: join(dir, 'not-mounted') };
    StoreProcess.start(stateDir, { kek, sealed: (_reason, child) => resolve(child) }).catch(reject);
  });
  onTestFinished(() => void store.kill());
  await expect.poll(() => existsSync(stateFiles(stateDir).adminSocket)).toBe(true);
  const front = await ExecFront.start(installation.plane, dir, [process.execPath, ADMIN_BRIDGE, stateDir]);
  onTestFinished(() => front.stop());
  const by = await openAccess({ kubeconfig: front.kubeconfigFile });
  onTestFinished(() => by.client.close());
  await part('store', 'keys-store-b', { ready: false });
  onTestFinished(() => withoutPart('keys-store-b'));
  expect(await doctor('store', { by })).toEqual([
    {
      check: 'store',
      state: 'warning',
      message: '1 of 2 ready: keys-store-b: the store is sealed (KekMissing)',
      next: expect.stringMatching(/not-mounted.*looks again by itself/),
    },
  ]);
});

test('of parts that cannot be asked at all it is said that they are not ready, and where their log is', async () => {
  await part('store', 'keys-store-c', { ready: false });
  onTestFinished(() => withoutPart('keys-store-c'));
  expect(await doctor('store')).toEqual([
    {
      check: 'store',
      state: 'warning',
      message: expect.stringMatching(/^1 of 2 ready: keys-store-c: /),
      next: `kubectl -n ${RELEASE_NAMESPACE} logs keys-store-c`,
    },
  ]);
  await withoutPart('keys-operator-a');
  onTestFinished(() => part('operator', 'keys-operator-a'));
  expect(await doctor('operator')).toMatchObject([{ state: 'failed', message: '0 of 0 ready' }]);
});

test('what the user may not look at is unknown, and the rest is looked at all the same', async () => {
  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  const header = { metadata: { name: 'pods' } };
  await admin.create(`${rbac}/clusterroles`, {
    ...header,
    rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['list'] }],
  });
  await admin.create(`${rbac}/clusterrolebindings`, {
    ...header,
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'pods' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'jane' }],
  });
  const by = await openAccess({ kubeconfig: installation.plane.kubeconfigFor({ name: 'jane' }) });
  onTestFinished(() => by.client.close());
  const findings = await doctor(undefined, { by });
  const unknown = findings.filter(({ state }) => state === 'unknown').map(({ check }) => check);
  expect(unknown).toEqual(
    expect.arrayContaining(['kindsInstalled', 'webhookCa', 'policiesBound', 'secretsReadable', 'sidecarsCurrent']),
  );
  expect(findings).toContainEqual(expect.objectContaining({ check: 'store', state: 'ok' }));
});

test('kinds that are not installed are named', { timeout: DELETION_LIMIT_MS }, async () => {
  expect(await doctor('kinds')).toMatchObject([{ state: 'ok' }]);
  await deleteKinds(installation.plane, ['integrations.sidekey.dev']);
  expect(await doctor('kinds')).toMatchObject([
    { state: 'failed', message: 'not installed: integrations.sidekey.dev' },
  ]);
});

test('a webhook, and policies, that are not there at all are told', async () => {
  await installation.helm('uninstall', 'sidekey', '--no-hooks');
  const findings = await doctor();
  expect(findings).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ message: 'there is no MutatingWebhookConfiguration of Sidekey', state: 'failed' }),
      expect.objectContaining({ message: 'there are no admission policies of Sidekey', state: 'failed' }),
      expect.objectContaining({ check: 'sidecars', state: 'unknown' }),
    ]),
  );
});
