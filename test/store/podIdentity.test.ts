import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { JoinAnswer, SessionsAnswer } from '../../api/protocol.ts';
import type { KubeClient } from '../../lib/kube/client.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { StoreClient as OperatorClient } from '../../operator/act/storeClient.ts';
import { renewIdentity } from '../../operator/renewal.ts';
import { ensureKekFile } from '../../store/vault/kekFile.ts';
import { ControlPlane } from '../cluster/controlPlane.ts';
import { filesIn } from '../filesIn.ts';
import { PostgresServer } from '../postgres/server.ts';
import { admin, anonymous, auditOf, clientKey, json, material, StoreClient } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

const SYSTEM = 'sidekey-system';
const NS = 'agents';
const INJECT = { 'sidekey.dev/inject': 'true' };

let plane: ControlPlane;
let kube: KubeClient;
let store: StoreProcess;
let dir: string;
let pods = 0;

beforeAll(async () => {
  plane = await ControlPlane.start();
  kube = plane.client();
  for (const namespace of [SYSTEM, NS]) {
    await kube.create('/api/v1/namespaces', { metadata: { name: namespace } });
    for (const name of ['default', 'other', 'sidekey-operator', 'sidekey-store'])
      await kube.create(`/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name } });
  }
  await allow('store', [
    { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
    { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
    { apiGroups: [''], resources: ['configmaps'], verbs: ['create', 'get', 'patch'] },
  ]);
  dir = mkdtempSync(join(tmpdir(), 'sidekey-pods-'));
  writeFileSync(join(dir, 'ca.pem'), plane.authority.caPem);
  writeFileSync(join(dir, 'token'), await tokenOf(SYSTEM, 'sidekey-store', {}));
  store = await StoreProcess.start(join(dir, 'state'), { kubernetes: settings() });
}, 90_000);
afterAll(async () => {
  await store?.stop();
  await plane?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const settings = (tokenFile = join(dir, 'token')) => ({
  operator: { namespace: SYSTEM, serviceAccount: 'sidekey-operator' },
  trustConfigMap: { namespace: SYSTEM, name: 'sidekey-trust' },
  apiServer: { url: plane.url, caFile: join(dir, 'ca.pem'), tokenFile },
});

async function allow(name: string, rules: object[]): Promise<void> {
  await kube.create('/apis/rbac.authorization.k8s.io/v1/clusterroles', { metadata: { name }, rules });
  await kube.create('/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
    subjects: [{ kind: 'ServiceAccount', name: `sidekey-${name}`, namespace: SYSTEM }],
  });
}

interface PodObject {
  metadata: { name: string; uid: string; namespace: string };
}

async function makePod(
  options: {
    labels?: object;
    annotations?: object;
    serviceAccount?: string;
    ns?: string;
    name?: string;
    finalizers?: string[];
  } = {},
): Promise<PodObject> {
  const {
    annotations,
    finalizers,
    labels = INJECT,
    name = `pod-${++pods}`,
    ns = NS,
    serviceAccount = 'default',
  } = options;
  return kube.create(`/api/v1/namespaces/${ns}/pods`, {
    metadata: { name, labels, annotations, finalizers },
    spec: {
      serviceAccountName: serviceAccount,
      automountServiceAccountToken: false,
      containers: [{ name: 'agent', image: 'example.com/agent' }],
    },
  });
}

/** As the kubelet has it made, unless it says otherwise. */
async function tokenOf(ns: string, account: string, spec: object): Promise<string> {
  const { status } = await kube.create<{ status: { token: string } }>(
    `/api/v1/namespaces/${ns}/serviceaccounts/${account}/token`,
    { spec },
  );
  return status.token;
}

const tokenFor = ({ metadata }: PodObject, account = 'default', audiences = ['sidekey']) =>
  tokenOf(metadata.namespace, account, {
    audiences,
    boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: metadata.name, uid: metadata.uid },
  });

async function ask(serviceAccountToken: string, at = store) {
  const { key, publicKeyPem } = clientKey();
  const answer = await anonymous(at).call('POST', '/v1/join', json({ serviceAccountToken, publicKeyPem }));
  return { answer, key };
}

async function joinAs(token: string, at = store): Promise<StoreClient> {
  const { answer, key } = await ask(token, at);
  expect(answer.status, answer.body.toString()).toBe(200);
  const joined = answer.json<JoinAnswer>();
  const client = new StoreClient(at, joined, { key, cert: joined.certificatePem });
  onTestFinished(() => client.close());
  return client;
}

async function refusal(token: string, at = store): Promise<string> {
  const { answer } = await ask(token, at);
  return `${answer.status} ${answer.json<{ code: string }>().code}`;
}

const operator = async () =>
  joinAs(
    await tokenFor(await makePod({ ns: SYSTEM, serviceAccount: 'sidekey-operator', labels: {} }), 'sidekey-operator'),
  );

test('a pod is known by its token, its living labels and who requested it', async () => {
  const pod = await makePod({
    labels: {
      ...INJECT,
      'sidekey.dev/role': 'researcher',
      'tag.sidekey.dev/llm': 'true',
      'tag.sidekey.dev/off': 'false',
    },
    annotations: { 'sidekey.dev/requested-by': 'alice@example.com' },
  });
  const token = await tokenFor(pod);
  const { answer } = await joinAs(token);
  expect(answer).toMatchObject({
    kind: 'session',
    spiffeId: `spiffe://sidekey.local/ns/${NS}/sa/default`,
    session: {
      namespace: NS,
      serviceAccount: 'default',
      role: 'researcher',
      tags: ['llm'],
      pod: { name: pod.metadata.name, uid: pod.metadata.uid },
      requester: 'alice@example.com',
    },
  });
  const started = (await auditOf(store)).findLast(({ event }) => event.kind === 'session.started');
  expect(started?.event).toMatchObject({
    session: { requester: 'alice@example.com' },
    from: expect.stringContaining('127.0.0.1'),
  });
  // The token is nowhere: neither in the log, nor in the audit, nor in a file.
  const files = filesIn(store.stateDir).map(([, content]) => content.toString('latin1'));
  expect(files.length).toBeGreaterThan(1);
  for (const text of [store.log.join(''), JSON.stringify(await auditOf(store)), ...files])
    expect(text).not.toContain(token);
});

test('the operator is known by its ServiceAccount, whatever its labels', async () => {
  const client = await operator();
  expect(client.answer).toMatchObject({ kind: 'operator' });
  expect((await client.call('GET', '/v1/objects')).status).toBe(200);
});

test('a token that was not projected for a pod with our audience is refused', async () => {
  const pod = await makePod();
  expect(await refusal(await tokenFor(pod, 'default', ['https://kubernetes.default.svc']))).toBe('401 PodTokenInvalid');
  expect(await refusal(await tokenFor(pod, 'default', ['other']))).toBe('401 PodTokenInvalid');
  expect(await refusal(await tokenOf(NS, 'default', { audiences: ['sidekey'] }))).toBe('401 PodTokenInvalid');
  expect(await refusal('not-a-token')).toBe('401 PodTokenInvalid');
  const [head, , signature] = (await tokenFor(pod)).split('.');
  const forged = Buffer.from(JSON.stringify({ sub: `system:serviceaccount:${SYSTEM}:sidekey-operator` })).toString(
    'base64url',
  );
  expect(await refusal(`${head}.${forged}.${signature}`)).toBe('401 PodTokenInvalid');
});

test('a pod that is gone is refused, although the review of its token still says yes', async () => {
  const pod = await makePod();
  const token = await tokenFor(pod);
  const review = async () => {
    const { status } = await kube.create<{ status: { authenticated?: boolean } }>(
      '/apis/authentication.k8s.io/v1/tokenreviews',
      { spec: { token, audiences: ['sidekey'] } },
    );
    return status.authenticated;
  };
  expect(await review()).toBe(true);
  await kube.delete(`/api/v1/namespaces/${NS}/pods/${pod.metadata.name}`, { gracePeriodSeconds: 0 });
  // The API server remembers for ten seconds what it has said of a token.
  expect(await review()).toBe(true);
  expect(await refusal(token)).toBe('403 PodNotAdmitted');
});

test('a pod of the same name with another UID is another pod', async () => {
  const pod = await makePod({ name: 'again' });
  const token = await tokenFor(pod);
  await kube.delete(`/api/v1/namespaces/${NS}/pods/again`, { gracePeriodSeconds: 0 });
  await makePod({ name: 'again' });
  expect(await refusal(token)).toMatch(/^(403 PodNotAdmitted|401 PodTokenInvalid)$/);
});

test('a pod that is being deleted is refused', async () => {
  const pod = await makePod({ finalizers: ['example.com/wait'] });
  const token = await tokenFor(pod);
  const path = `/api/v1/namespaces/${NS}/pods/${pod.metadata.name}`;
  await kube.delete(path, { gracePeriodSeconds: 0 });
  expect(await refusal(token)).toMatch(/^(403 PodNotAdmitted|401 PodTokenInvalid)$/);
  await kube.patch(path, { metadata: { finalizers: null } }, 'merge');
});

test.for(['Succeeded', 'Failed'])('a pod that has ended (%s) is refused', async (phase) => {
  const pod = await makePod();
  const token = await tokenFor(pod);
  await kube.patch(`/api/v1/namespaces/${NS}/pods/${pod.metadata.name}/status`, { status: { phase } }, 'merge');
  expect(await refusal(token)).toBe('403 PodNotAdmitted');
});

test.for([{}, { 'sidekey.dev/inject': 'false' }])('a pod without the label (%o) is refused', async (labels) => {
  expect(await refusal(await tokenFor(await makePod({ labels })))).toBe('403 PodNotAdmitted');
});

test('a pod that starts anew ends what it had before', async () => {
  const pod = await makePod();
  const first = await joinAs(await tokenFor(pod));
  const second = await joinAs(await tokenFor(pod));
  expect((await first.call('GET', '/v1/session/snapshot')).json()).toMatchObject({ code: 'IdentityRevoked' });
  expect((await second.call('GET', '/v1/session/snapshot')).status).toBe(200);
  const ended = (await auditOf(store)).filter(({ event }) => event.session === first.answer.session!.id);
  expect(ended.map(({ event }) => event.reason)).toEqual(['the sidecar of the pod has started anew']);
});

test('of joins of one pod at the same moment, at one replica or two, one session is left', async () => {
  const server = await PostgresServer.start();
  onTestFinished(() => server.stop());
  const databaseUrl = await server.newDatabase();
  const stateDirs = ['a', 'b'].map((name) => join(dir, name));
  // They have a CA of their own.
  const kubernetes = { ...settings(), trustConfigMap: { namespace: SYSTEM, name: 'replicas-trust' } };
  const replicas: StoreProcess[] = [];
  onTestFinished(() => Promise.all(replicas.map((replica) => replica.stop())).then(() => {}));
  for (const stateDir of stateDirs) mkdirSync(stateDir, { mode: 0o700 });
  const kekFiles = stateFiles(stateDirs[0]!);
  ensureKekFile(kekFiles);
  const kek = { file: kekFiles.kek };
  for (const stateDir of stateDirs) replicas.push(await StoreProcess.start(stateDir, { databaseUrl, kek, kubernetes }));
  for (const stores of [[store, store], replicas]) {
    for (let round = 0; round < 10; round += 1) {
      const token = await tokenFor(await makePod());
      const asked = await Promise.all([...stores, ...stores].map(async (at) => ({ at, ...(await ask(token, at)) })));
      const answers: string[] = [];
      for (const { answer, at, key } of asked) {
        const joined = answer.json<JoinAnswer>();
        if (answer.status !== 200) {
          answers.push(`${answer.status} ${(joined as unknown as { code: string }).code}`);
          continue;
        }
        const client = new StoreClient(at, joined, { key, cert: joined.certificatePem });
        answers.push(String((await client.call('GET', '/v1/session/snapshot')).status));
        client.close();
      }
      expect(answers.filter((status) => status === '200')).toHaveLength(1);
    }
  }
}, 60_000);

test('a session that was revoked does not come back as another one of its pod, until that is lifted', async () => {
  const pod = await makePod();
  const token = await tokenFor(pod);
  const sidecar = await joinAs(token);
  const request = { selector: { session: sidecar.answer.session!.id }, reason: 'it misbehaves' };
  const answer = (await admin(store, 'POST', '/v1/admin/revocations', json(request))).json();
  expect(answer).toMatchObject({ sessionCount: 1, revocation: { id: `pod:${pod.metadata.uid}` } });
  expect((await sidecar.call('GET', '/v1/session/snapshot')).json()).toMatchObject({ code: 'IdentityRevoked' });
  expect(await refusal(token)).toBe('403 Revoked');
  await admin(store, 'DELETE', `/v1/admin/revocations?id=pod:${pod.metadata.uid}`);
  expect((await ask(token)).answer.status).toBe(200);
});

test("labels that change reach the session's stream within a second, and take away what they gave", async () => {
  const client = await operator();
  const hosts = ['api.example.com'];
  const record = { hosts, leaseSeconds: 900, consumerNamespaces: [], source: 'store' };
  await client.call('PUT', `/v1/credentials/${NS}/key`, json(record));
  await admin(store, 'PUT', `/v1/admin/credentials/${NS}/key/material`, material({ value: 'secret' }));
  const integration = {
    ...{ createdAt: '2026-01-01T00:00:00Z', credential: `${NS}/key`, hosts, inject: [{ bearer: {} }], rules: [] },
    ...{ limits: [], placeholder: 'p', allowedNetworks: [], allowPlaintext: false, subjects: { tags: ['llm'] } },
  };
  expect((await client.call('PUT', `/v1/integrations/${NS}/key`, json(integration))).status).toBe(204);
  const pod = await makePod();
  const sidecar = await joinAs(await tokenFor(pod));
  const events = await sidecar.events();
  expect(await events.next()).toMatchObject({ type: 'snapshot', grants: [] });
  const path = `/v1/sessions?pod=${pod.metadata.uid}`;
  const fromMs = performance.now();
  expect((await client.call('PUT', path, json({ role: 'r', tags: ['llm'] }))).status).toBe(204);
  expect(await events.next()).toMatchObject({ type: 'snapshot', grants: [{ integration: `${NS}/key` }] });
  const tookMs = performance.now() - fromMs;
  console.log(`a label reached the stream after ${tookMs.toFixed(0)} ms`);
  expect(tookMs).toBeLessThan(1_000);
  const lease = () => sidecar.call('POST', '/v1/leases', json({ credential: `${NS}/key` }));
  expect((await lease()).status).toBe(200);
  const { sessions } = (await client.call('GET', '/v1/sessions')).json<SessionsAnswer>();
  expect(sessions.find(({ pod: of }) => of?.uid === pod.metadata.uid)).toMatchObject({ role: 'r', tags: ['llm'] });
  await client.call('PUT', path, json({ tags: [] }));
  expect(await events.next()).toMatchObject({ type: 'snapshot', grants: [] });
  expect((await lease()).json()).toMatchObject({ code: 'NotGranted' });
  const changed = (await auditOf(store)).filter(({ event }) => event.kind === 'session.changed');
  expect(changed.map(({ event }) => [event.tags, event.previous])).toEqual([
    [['llm'], { tags: [] }],
    [[], { role: 'r', tags: ['llm'] }],
  ]);
  // Nobody's pod: nothing happens.
  expect((await client.call('PUT', '/v1/sessions?pod=nobody', json({ tags: [] }))).status).toBe(204);
  events.response.destroy();
});

test('only the operator hears of sessions and changes them', async () => {
  const sidecar = await joinAs(await tokenFor(await makePod()));
  expect((await sidecar.call('GET', '/v1/sessions')).json()).toMatchObject({ code: 'NotPermitted' });
  expect((await sidecar.call('PUT', '/v1/sessions?pod=x', json({ tags: ['all'] }))).json()).toMatchObject({
    code: 'NotPermitted',
  });
});

test('a pod that is gone is not renewed, though no operator says so', async () => {
  const pod = await makePod();
  const sidecar = await joinAs(await tokenFor(pod));
  const renew = () => sidecar.call('POST', '/v1/renew', json({ publicKeyPem: clientKey().publicKeyPem }));
  expect((await renew()).status).toBe(200);
  await kube.delete(`/api/v1/namespaces/${NS}/pods/${pod.metadata.name}`, { gracePeriodSeconds: 0 });
  expect((await renew()).json()).toMatchObject({ code: 'IdentityRevoked' });
  expect((await sidecar.call('GET', '/v1/session/snapshot')).json()).toMatchObject({ code: 'IdentityRevoked' });
});

test('an operator is not renewed but joins anew, by its pod, and no more once that is gone', async () => {
  const pod = await makePod({ ns: SYSTEM, serviceAccount: 'sidekey-operator', labels: {} });
  const proof = { serviceAccountToken: await tokenFor(pod, 'sidekey-operator') };
  const joined = await joinAs(proof.serviceAccountToken);
  const renewal = await joined.call('POST', '/v1/renew', json({ publicKeyPem: clientKey().publicKeyPem }));
  expect(renewal.json()).toMatchObject({ code: 'NotPermitted', message: expect.stringContaining('joins anew') });
  const client = await OperatorClient.join(store, proof);
  onTestFinished(() => client.close());
  const joins = async () =>
    (await auditOf(store)).filter(
      ({ event }) => event.kind === 'operator.joined' && (event.pod as { uid: string }).uid === pod.metadata.uid,
    ).length;
  const before = await joins();
  await renewIdentity(client, store.trustBundlePem, proof);
  expect(await joins()).toBe(before + 1);
  expect(await client.objects()).toMatchObject({ integrations: expect.any(Array) });
  await kube.delete(`/api/v1/namespaces/${SYSTEM}/pods/${pod.metadata.name}`, { gracePeriodSeconds: 0 });
  await expect(renewIdentity(client, store.trustBundlePem, proof)).rejects.toMatchObject({ code: 'JoinRefused' });
});

test('the trust bundle is published, and changes with it', async () => {
  const path = `/api/v1/namespaces/${SYSTEM}/configmaps/sidekey-trust`;
  const published = async () => (await kube.get<{ data: Record<string, string> }>(path)).data['ca.pem'];
  await expect.poll(published).toBe(store.trustBundlePem);
  await admin(store, 'POST', '/v1/admin/ca/rotate', json({ root: true }));
  await expect.poll(async () => (await published())!.match(/BEGIN CERTIFICATE/g)?.length, { timeout: 5_000 }).toBe(2);
});

test('no token that a pod shows, taken or refused, is in logs, audit, answers or files of the store', async () => {
  const taken = await tokenFor(await makePod());
  const refused = await tokenFor(await makePod({ labels: {} }));
  const answers = [(await ask(taken)).answer, (await ask(refused)).answer];
  expect(answers.map(({ status }) => status)).toEqual([200, 403]);
  const entries = JSON.stringify(await auditOf(store));
  expect(entries).toContain('join.refused');
  const written = filesIn(store.stateDir).map(([, content]) => content.toString('latin1'));
  expect(written.some((text) => text.includes('SQLite format 3'))).toBe(true);
  const texts = [store.log.join(''), entries, ...answers.map(({ body }) => body.toString()), ...written];
  for (const part of [taken, refused].flatMap((token) => token.split('.').slice(1)))
    for (const text of texts) expect(text.includes(part)).toBe(false);
});

test('labels that changed are there after a restart', async () => {
  const client = await operator();
  const pod = await makePod();
  await joinAs(await tokenFor(pod));
  await client.call('PUT', `/v1/sessions?pod=${pod.metadata.uid}`, json({ tags: ['kept'] }));
  await store.kill();
  store = await StoreProcess.start(store.stateDir, { kubernetes: settings() });
  const { sessions } = (await (await operator()).call('GET', '/v1/sessions')).json<SessionsAnswer>();
  expect(sessions.find(({ pod: of }) => of?.uid === pod.metadata.uid)).toMatchObject({ tags: ['kept'] });
});

test('where the store may not review tokens, joins fail for now, and its log says what to mend', async () => {
  const tokenFile = join(dir, 'powerless');
  writeFileSync(tokenFile, await tokenOf(NS, 'other', {}));
  const powerless = await StoreProcess.start(join(dir, 'powerless-state'), { kubernetes: settings(tokenFile) });
  onTestFinished(() => void powerless.stop());
  expect(await refusal(await tokenFor(await makePod()), powerless)).toBe('503 KubernetesForbidden');
  await expect.poll(() => powerless.log.join('')).toContain('see the RBAC of the chart');
});

test('while the API server is away pods are asked to come again, and those that are known are renewed', async () => {
  const known = await joinAs(await tokenFor(await makePod()));
  const token = await tokenFor(await makePod());
  const restarted = plane.restart(3_000);
  const refused = async () => {
    const { answer } = await ask(token);
    return { status: answer.status, ...answer.json<object>(), retryAfter: answer.headers['retry-after'] };
  };
  await expect
    .poll(refused, { interval: 100 })
    .toMatchObject({ status: 503, code: 'KubernetesUnavailable', retryAfter: expect.stringMatching(/^[0-9]+$/) });
  const renewed = await known.call('POST', '/v1/renew', json({ publicKeyPem: clientKey().publicKeyPem }));
  expect(renewed.status).toBe(200);
  await restarted;
  await expect.poll(async () => (await ask(token)).answer.status, { timeout: 20_000 }).toBe(200);
}, 60_000);
