import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeFields } from '../../api/fields.ts';
import type { JoinAnswer } from '../../api/protocol.ts';
import { anonymous, clientKey, json, StoreClient } from '../store/storeClient.ts';
import { StoreProcess } from '../store/storeProcess.ts';
import { KubeWorld, type OperatorReplica, SYSTEM } from './kubeWorld.ts';
import { within } from './operatorProcess.ts';

const NS = 'team';
const MINUTE_MS = 60_000;
const SKEW_MS = 5 * MINUTE_MS;
/** More than the fifteen seconds of the Lease. */
const LEASE_AND_MORE_MS = 18_000;
const OPERATOR = new URL('../../operator/main.ts', import.meta.url).pathname;
const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${SYSTEM}/leases/sidekey-operator`;
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const STORE_RULES = [
  { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
  { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
  { apiGroups: [''], resources: ['configmaps'], verbs: ['create', 'get', 'patch'] },
];

interface Lease {
  spec: { holderIdentity: string; leaseTransitions: number; renewTime: string };
}

describe.each([
  ['ahead', SKEW_MS],
  ['behind', -SKEW_MS],
])('where the clocks of operator and store are five minutes %s of the API server', (_, aheadMs) => {
  const preload = new URL('./skewedDate.ts', import.meta.url);
  preload.searchParams.set('aheadMs', String(aheadMs));
  const stands = (operator: OperatorReplica) => operator.log.includes('stands by');
  const leads = (operator: OperatorReplica) => operator.log.includes('all objects are known');
  const lease = async () => (await world.client.get<Lease>(LEASE)).spec;
  let world: KubeWorld;
  let skewed: OperatorReplica;
  let right: OperatorReplica;

  beforeAll(async () => {
    world = await KubeWorld.start();
    await world.store.kill();
    await world.namespace(NS);
    await world.client.create(`/api/v1/namespaces/${NS}/serviceaccounts`, { metadata: { name: 'default' } });
    await allowStore();
    world.store = await startStore();
    skewed = await startSkewed();
    await within(30, 'it leads', () => leads(skewed));
    right = await world.operator('right');
    await within(20, 'it stands by', () => stands(right));
  }, 120_000);
  afterAll(() => world?.stop());

  async function allowStore(): Promise<void> {
    const name = 'sidekey-store';
    await world.client.create(`/api/v1/namespaces/${SYSTEM}/serviceaccounts`, { metadata: { name } });
    await world.client.create(`${RBAC}/clusterroles`, { metadata: { name }, rules: STORE_RULES });
    await world.client.create(`${RBAC}/clusterrolebindings`, {
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace: SYSTEM }],
    });
    writeFileSync(join(world.dir, 'ca.pem'), world.plane.authority.caPem);
    writeFileSync(join(world.dir, 'store-token'), await token(SYSTEM, name, {}));
  }

  async function token(namespace: string, account: string, spec: object): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`;
    return (await world.client.create<{ status: { token: string } }>(path, { spec })).status.token;
  }

  /** As the kubelet has it made for a pod. */
  const podToken = (namespace: string, account: string, name: string, uid: string) =>
    token(namespace, account, {
      audiences: ['sidekey'],
      boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
    });

  function startStore(port = 0): Promise<StoreProcess> {
    return StoreProcess.start(join(world.dir, 'skewed-store'), {
      port,
      env: { NODE_OPTIONS: `--import=${preload.href}` },
      kubernetes: {
        operator: { namespace: SYSTEM, serviceAccount: 'sidekey-operator' },
        trustConfigMap: { namespace: SYSTEM, name: 'sidekey-trust' },
        apiServer: {
          url: world.plane.url,
          caFile: join(world.dir, 'ca.pem'),
          tokenFile: join(world.dir, 'store-token'),
        },
      },
    });
  }

  let operators = 0;
  /** The program itself, which joins as a pod of its ServiceAccount. */
  async function startSkewed(): Promise<OperatorReplica> {
    operators += 1;
    const name = `operator-${operators}`;
    const { metadata } = await world.client.create<{ metadata: { uid: string } }>(`/api/v1/namespaces/${SYSTEM}/pods`, {
      metadata: { name },
      spec: { serviceAccountName: 'sidekey-operator', containers: [{ name: 'operator', image: 'operator' }] },
    });
    const joins = await podToken(SYSTEM, 'sidekey-operator', name, metadata.uid);
    const operator = await world.operator(name, ['--import', preload.href, OPERATOR, '--config']);
    writeFileSync(operator.joinTokenFile, joins);
    return operator;
  }

  /** Valid for who is as far off as the store, and for who is as far off in the other direction: TLS itself looks at the machine's clock, which is right. */
  function expectTolerant(pem: string | Buffer): void {
    const { validFromDate, validToDate } = new X509Certificate(pem);
    expect(validFromDate.getTime()).toBeLessThan(Date.now() - SKEW_MS);
    expect(validToDate.getTime()).toBeGreaterThan(Date.now() + SKEW_MS);
  }

  test('objects become Ready, and a pod joins by its token and is given the material until it goes', async () => {
    await world.secret(NS, 'keys', 'sk-1');
    await world.credential(NS, 'key');
    await world.integration(NS, 'example');
    for (const [kind, name] of [
      ['Credential', 'key'],
      ['Integration', 'example'],
    ] as const)
      await within(30, `${name} is Ready`, async () => (await world.ready(kind, NS, name))?.status === 'True');
    const uid = await world.pod(NS, 'agent', { 'tag.sidekey.dev/llm': '' });
    const { key, publicKeyPem } = clientKey();
    const serviceAccountToken = await podToken(NS, 'default', 'agent', uid);
    const answer = await anonymous(world.store).call('POST', '/v1/join', json({ serviceAccountToken, publicKeyPem }));
    expect(answer.status, answer.body.toString()).toBe(200);
    const joined = answer.json<JoinAnswer>();
    expectTolerant(joined.certificatePem);
    const sidecar = new StoreClient(world.store, joined, { key, cert: joined.certificatePem });
    const leased = await sidecar.call('POST', '/v1/leases', json({ credential: `${NS}/key` }));
    expect(leased.status, leased.body.toString()).toBe(200);
    expect(decodeFields(leased.body).get('value')?.toString()).toBe('sk-1');
    const renewed = await sidecar.call('POST', '/v1/renew', json({ publicKeyPem }));
    expect(renewed.status).toBe(200);
    await world.client.delete(`/api/v1/namespaces/${NS}/pods/agent`, { gracePeriodSeconds: 0 });
    await within(20, 'its session ends', async () => !(await world.sessions()).some(({ pod }) => pod?.uid === uid));
    sidecar.close();
  }, 90_000);

  test('certificates of the store and its roots are valid to who is as far off the other way', async () => {
    for (const pem of world.store.trustBundlePem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g)!)
      expectTolerant(pem);
    const { hostname, port } = new URL(world.store.storeUrl);
    const socket = connect({
      ...{ host: hostname, port: Number(port), servername: 'store.sidekey.internal' },
      ca: world.store.trustBundlePem,
    });
    await once(socket, 'secureConnect');
    expectTolerant(socket.getPeerX509Certificate()!.raw);
    socket.destroy();
  });

  test('a deletion waits for a store that is away, for as long as with right clocks', async () => {
    await world.credential(NS, 'waits');
    const path = `/apis/sidekey.dev/v1alpha1/namespaces/${NS}/credentials/waits`;
    const get = () => world.client.get<{ metadata: { finalizers?: string[] } }>(path).catch(() => undefined);
    await within(30, 'the finalizer', async () => (await get())?.metadata.finalizers?.length === 1);
    const port = Number(new URL(world.store.storeUrl).port);
    await world.store.kill();
    await within(20, 'it knows', async () => /store_connected 0$/m.test((await skewed.metrics()).text));
    await world.remove('Credential', NS, 'waits');
    await sleep(3_000);
    expect((await get())?.metadata.finalizers).toEqual(['sidekey.dev/store']);
    world.store = await startStore(port);
    await within(40, 'it is gone', async () => (await get()) === undefined);
    expect((await world.stored()).has(`${NS}/waits`)).toBe(false);
  }, 120_000);

  test('a Lease that it renews is not taken by one with a right clock, and the other way round', async () => {
    const first = await lease();
    expect(first.holderIdentity).toMatch(/^operator-1_/);
    // As far off as it should be.
    expect(Math.abs(Date.parse(first.renewTime) - Date.now() - aheadMs)).toBeLessThan(MINUTE_MS);
    await sleep(LEASE_AND_MORE_MS);
    const second = await lease();
    expect(second).toMatchObject({
      holderIdentity: first.holderIdentity,
      leaseTransitions: first.leaseTransitions,
    });
    expect(second.renewTime).not.toBe(first.renewTime);
    expect(await skewed.stop()).toBe(0);
    await within(15, 'the right one leads', () => leads(right));
    const standby = await startSkewed();
    await within(20, 'it stands by', () => stands(standby));
    const third = await lease();
    await sleep(LEASE_AND_MORE_MS);
    expect(await lease()).toMatchObject({
      holderIdentity: third.holderIdentity,
      leaseTransitions: third.leaseTransitions,
    });
    expect(third.holderIdentity).toMatch(/^right_/);
    await right.stop();
    await within(15, 'it leads again', () => leads(standby));
    await world.secret(NS, 'keys', 'sk-2');
    await within(20, 'it acts', async () => (await world.stored()).get(`${NS}/key`)?.version === 2);
  }, 150_000);
});
