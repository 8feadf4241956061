import { get } from 'node:http';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { AdminCredential, JoinTokenAnswer } from '../../../api/admin.ts';
import { decodeFields } from '../../../api/fields.ts';
import type { CredentialRecord, SessionEvent } from '../../../api/protocol.ts';
import { until } from '../../../sidecar/link/testkit.ts';
import { credentialRecord, integrationRecord } from '../../../store/testing/records.ts';
import { PostgresServer } from '../../postgres/server.ts';
import { TcpProxy } from '../../postgres/tcpProxy.ts';
import { LOOPBACK, SidecarProcess } from '../../sidecar/sidecarProcess.ts';
import { TestStore } from '../../sidecar/testStore.ts';
import { TestUpstream } from '../../sidecar/upstream.ts';
import {
  admin,
  anonymous,
  auditOf,
  clientKey,
  type EventReader,
  json,
  material,
  SESSION,
  StoreClient,
} from '../../store/storeClient.ts';
import type { StoreProcess } from '../../store/storeProcess.ts';
import { eventually } from './eventually.ts';
import { Replicas } from './replicas.ts';

const PUSH_LIMIT_MS = 1_000;
let server: PostgresServer;
let databaseUrl: string;
/** Between the third replica and the database. */
let proxy: TcpProxy;
let replicas: Replicas;
let a: StoreProcess;
let b: StoreProcess;
let c: StoreProcess;
let operator: StoreClient;

beforeAll(async () => {
  server = await PostgresServer.start();
  databaseUrl = await server.newDatabase();
  proxy = await TcpProxy.start(server.port);
  replicas = await Replicas.start([databaseUrl, databaseUrl, proxy.url(databaseUrl)]);
  [a, b, c] = replicas.all as [StoreProcess, StoreProcess, StoreProcess];
  operator = await StoreClient.join(a, { kind: 'operator' });
}, 60_000);
afterAll(async () => {
  operator?.close();
  await replicas?.stop();
  proxy?.close();
  await server?.remove();
});

const credential = (key: string, changes: Partial<CredentialRecord> = {}) =>
  operator.call('PUT', `/v1/credentials/${key}`, json(credentialRecord({ source: 'store', ...changes })));
const integration = (key: string, of: string) =>
  operator.call('PUT', `/v1/integrations/${key}`, json(integrationRecord({ credential: of })));
const setMaterial = (at: StoreProcess, key: string, value: string) =>
  admin(at, 'PUT', `/v1/admin/credentials/${key}/material`, material({ value }));

async function sidecarAt(store: StoreProcess): Promise<{ client: StoreClient; events: EventReader }> {
  const client = await StoreClient.join(store, { kind: 'session', session: SESSION });
  onTestFinished(() => client.close());
  return { client, events: await client.events() };
}

/** The first event of that type, and how long it took from `fromMs` on. */
async function arrival(events: EventReader, type: SessionEvent['type'], fromMs: number): Promise<number> {
  for (;;) {
    const event = await events.next();
    if (event === undefined) throw new Error(`the stream ended before ${type}`);
    if (event.type === type) return performance.now() - fromMs;
  }
}

test('a new version, a revocation, a taken grant and an ended session made through one replica reach the sidecars of the others in less than a second', async () => {
  await credential('default/pushed');
  await integration('default/pushed', 'default/pushed');
  const sidecars = [await sidecarAt(b), await sidecarAt(c)];
  for (const { events } of sidecars) await arrival(events, 'snapshot', 0);
  const took: number[] = [];
  const everywhere = async (type: SessionEvent['type'], make: () => Promise<unknown>) => {
    const fromMs = performance.now();
    const arrivals = sidecars.map(({ events }) => arrival(events, type, fromMs));
    await make();
    took.push(...(await Promise.all(arrivals)));
  };
  for (let n = 0; n < 20; n += 1) await everywhere('version', () => setMaterial(a, 'default/pushed', `value ${n}`));
  const { client } = sidecars[0]!;
  const lease = await client.call('POST', '/v1/leases', json({ credential: 'default/pushed' }));
  expect(decodeFields(lease.body).get('value')!.toString()).toBe('value 19');
  const revocation = json({ selector: { credential: 'default/pushed' }, reason: 'leaked' });
  await everywhere('revoke', () => admin(a, 'POST', '/v1/admin/revocations', revocation));
  const refused = await client.call('POST', '/v1/leases', json({ credential: 'default/pushed' }));
  expect(refused.json()).toMatchObject({ code: 'Revoked' });
  await everywhere('grant', () => admin(a, 'DELETE', '/v1/admin/revocations?id=credential:default/pushed'));
  await everywhere('revoke', () => operator.call('DELETE', '/v1/integrations/default/pushed'));
  await everywhere('end', () =>
    Promise.all(
      sidecars.map(({ client: { answer } }) => admin(a, 'DELETE', `/v1/admin/sessions/${answer.session!.id}`)),
    ),
  );
  took.sort((x, y) => x - y);
  console.log(
    `push across replicas: ${took.length} events, median ${took[took.length >> 1]!.toFixed(1)} ms, most ${took.at(-1)!.toFixed(1)} ms`,
  );
  expect(took.at(-1)!).toBeLessThan(PUSH_LIMIT_MS);
});

test('what was revoked at one replica is not given out at another from that answer on, however fast it is asked for', async () => {
  await credential('default/revoked');
  await integration('default/revoked', 'default/revoked');
  await setMaterial(a, 'default/revoked', 'secret');
  const { client } = await sidecarAt(b);
  const ask = () => client.call('POST', '/v1/leases', json({ credential: 'default/revoked' }));
  const selector = { credential: 'default/revoked' };
  for (let n = 0; n < 10; n += 1) {
    await eventually(async () => (await ask()).status === 200, 2_000);
    await admin(a, 'POST', '/v1/admin/revocations', json({ selector }));
    expect((await ask()).status).toBe(403);
    await admin(a, 'DELETE', '/v1/admin/revocations?id=credential:default/revoked');
  }
});

test('a replica that is cut off from the database gives nothing out, ends its streams in seconds, and is back by itself', async () => {
  await credential('default/cut');
  await integration('default/cut', 'default/cut');
  await setMaterial(a, 'default/cut', 'secret');
  const { client, events } = await sidecarAt(c);
  const ask = () => client.call('POST', '/v1/leases', json({ credential: 'default/cut' }));
  await eventually(async () => (await ask()).status === 200, 2_000);
  const fromMs = performance.now();
  proxy.cut();
  expect((await ask()).json()).toMatchObject({ code: 'StorageFailed' });
  while ((await events.next()) !== undefined);
  expect(performance.now() - fromMs).toBeLessThan(6_000);
  expect((await client.call('GET', '/v1/session/events')).json()).toMatchObject({ code: 'StorageFailed' });
  const elsewhere = new StoreClient(b, client.answer, client.tls);
  onTestFinished(() => elsewhere.close());
  expect((await elsewhere.call('POST', '/v1/leases', json({ credential: 'default/cut' }))).status).toBe(200);
  // What is ended meanwhile is known at the moment that it is back.
  await admin(a, 'DELETE', `/v1/admin/sessions/${client.answer.session!.id}`);
  proxy.mend();
  await eventually(async () => (await ask()).status !== 503, 6_000);
  expect((await ask()).json()).toMatchObject({ code: 'IdentityRevoked' });
});

test('a session that ended at one replica has no lease at another from that answer on, however fast it asks', async () => {
  await credential('default/ended');
  await integration('default/ended', 'default/ended');
  await setMaterial(a, 'default/ended', 'secret');
  for (let n = 0; n < 10; n += 1) {
    const { client } = await sidecarAt(b);
    const ask = () => client.call('POST', '/v1/leases', json({ credential: 'default/ended' }));
    await eventually(async () => (await ask()).status === 200, 2_000);
    await admin(a, 'DELETE', `/v1/admin/sessions/${client.answer.session!.id}`);
    expect((await ask()).json()).toMatchObject({ code: 'IdentityRevoked' });
  }
});

test('who joined at one replica is known at all others at once, and a token is good for one join among them', async () => {
  for (let n = 0; n < 5; n += 1) {
    const invitation = json({ kind: 'session', session: SESSION });
    const { joinToken } = (await admin(a, 'POST', '/v1/admin/join-tokens', invitation)).json<JoinTokenAnswer>();
    const join = (at: StoreProcess) =>
      anonymous(at).call('POST', '/v1/join', json({ joinToken, publicKeyPem: clientKey().publicKeyPem }));
    const statuses = (await Promise.all([join(a), join(b), join(c)])).map(({ status }) => status);
    expect(statuses.sort()).toEqual([200, 401, 401]);
    const { client } = await sidecarAt(b);
    const elsewhere = new StoreClient(c, client.answer, client.tls);
    onTestFinished(() => elsewhere.close());
    expect((await elsewhere.call('POST', '/v1/renew', json({ publicKeyPem: clientKey().publicKeyPem }))).status).toBe(
      200,
    );
  }
});

test('a generated credential is rotated once, not once a replica', async () => {
  const generated = { bytes: 16, encoding: 'Hex', rotateSeconds: 2 } as const;
  await credential('default/generated', { source: 'generated', generated });
  await new Promise((resolve) => setTimeout(resolve, 7_000));
  const written = (await Promise.all([a, b, c].map((store) => auditOf(store))))
    .flat()
    .map(({ event }) => event)
    .filter(({ kind, credential: of }) => kind === 'material.written' && of === 'default/generated');
  const versions = [...new Map(written.map((event) => [event.version, event])).keys()];
  expect(written.length).toBeGreaterThanOrEqual(3);
  expect(written.length).toBeLessThanOrEqual(5);
  expect(versions.length).toBe(written.length);
  await operator.call('DELETE', '/v1/credentials/default/generated');
});

test('each replica writes a chain of its own, and none is disturbed by the others', async () => {
  await Promise.all(
    [a, b, c].flatMap((store, replica) =>
      Array.from({ length: 20 }, (_, n) => setMaterial(store, `default/chain-${replica}-${n}`, 'x')),
    ),
  );
  const rows = await server.query('SELECT chain, seq, previous_hash, hash FROM audit ORDER BY chain, seq', databaseUrl);
  const chains = new Map<string, { seq: number; hash: unknown }>();
  for (const row of rows) {
    const before = chains.get(String(row.chain)) ?? { seq: 0, hash: row.previous_hash };
    expect({ seq: Number(row.seq), previous: row.previous_hash }).toEqual({
      seq: before.seq + 1,
      previous: before.hash,
    });
    chains.set(String(row.chain), { seq: Number(row.seq), hash: row.hash });
  }
  expect(chains.size).toBe(3);
});

test('a credential with maxUses is leased that often and not once more, asked for through all replicas at once', async () => {
  await credential('default/counted', { maxUses: 5 });
  await integration('default/counted', 'default/counted');
  await setMaterial(a, 'default/counted', 'secret');
  const clients = await Promise.all(replicas.all.map(async (store) => (await sidecarAt(store)).client));
  const ask = (n: number) =>
    clients[n % 3]!.call('POST', '/v1/leases', json({ credential: 'default/counted', single: true }));
  // Changes arrive in order: who knows of the material knows of the grant.
  for (const store of replicas.all)
    await eventually(async () => {
      const credentials = (await admin(store, 'GET', '/v1/admin/credentials')).json<AdminCredential[]>();
      return credentials.some(({ key, version }) => key === 'default/counted' && version === 1);
    }, 2_000);
  const answers = await Promise.all(Array.from({ length: 30 }, (_, n) => ask(n)));
  const codes = answers.map(({ status }) => status).sort();
  expect(codes.filter((status) => status === 200)).toHaveLength(5);
  const refused = answers.filter(({ status }) => status !== 200).map((answer) => answer.json<{ code: string }>().code);
  expect(new Set(refused)).toEqual(new Set(['UsesExhausted']));
});

test('the same material written through all replicas at once: every answer counts, versions only go up', async () => {
  await credential('default/contended');
  const writes = Array.from({ length: 60 }, (_, n) =>
    setMaterial(replicas.all[n % 3]!, 'default/contended', `value ${n}`),
  );
  const answers = await Promise.all(writes);
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  const versions = answers.map((answer) => answer.json<{ version: number }>().version);
  expect([...versions].sort((x, y) => x - y)).toEqual(Array.from({ length: 60 }, (_, n) => n + 1));
});

test('kill -9 of the replica that a sidecar uses: it goes on with another, and hears of what changes there', {
  timeout: 60_000,
}, async () => {
  const upstream = await TestUpstream.start((_, response) => response.end('fine'));
  // Lends the sidecar its directory; what it is told of are the replicas.
  const store = await TestStore.start();
  onTestFinished(async () => {
    upstream.stop();
    await store.stop();
  });
  await credential('default/key', { hosts: [upstream.host], leaseSeconds: 60 });
  await operator.call(
    'PUT',
    '/v1/integrations/default/moved',
    json(integrationRecord({ hosts: [upstream.host], alias: 'moved', allowedNetworks: LOOPBACK })),
  );
  await setMaterial(a, 'default/key', 'first');
  const { joinToken } = (
    await admin(a, 'POST', '/v1/admin/join-tokens', json({ kind: 'session', session: SESSION }))
  ).json<JoinTokenAnswer>();
  const sidecar = await SidecarProcess.start({
    store,
    extraCaPem: upstream.caPem,
    bootstrap: { storeUrl: replicas.urls, trustBundlePem: a.trustBundlePem, joinToken },
  });
  onTestFinished(() => sidecar.close());
  const request = () =>
    new Promise<number>((resolve, reject) =>
      get(`http://127.0.0.1:${sidecar.proxyPort}/moved/x`, { agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode!);
      }).on('error', reject),
    );
  await until(async () => (await request()) === 200);
  for (const index of [0, 1, 2]) {
    await replicas.all[index]!.kill();
    const other = replicas.all[(index + 1) % 3]!;
    const fromMs = performance.now();
    const value = `after ${index}`;
    await setMaterial(other, 'default/key', value);
    while (upstream.seen.at(-1) !== `Bearer ${value}`) {
      expect(await request()).toBe(200); // Never a refusal: what is held is good.
      if (performance.now() - fromMs > 8_000)
        throw new Error(`the new version did not arrive after the end of replica ${index}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    console.log(
      `replica ${index} killed: the sidecar used the new version after ${(performance.now() - fromMs).toFixed(0)} ms`,
    );
    await replicas.restart(index);
  }
});
