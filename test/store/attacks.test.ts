import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { JoinTokenAnswer } from '../../api/admin.ts';
import { type JoinAnswer, LEASE_HEADERS, STORE_DNS_NAME } from '../../api/protocol.ts';
import type { RevocationAnswer } from '../../api/revocation.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { admin, anonymous, auditOf, clientKey, json, material, SESSION, StoreClient } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

const SECRET = 'sk-of-the-others';
const KEY = 'default/key';
let dir: string;
let store: StoreProcess;
let operator: StoreClient;
const clients: StoreClient[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-attacks-'));
  store = await StoreProcess.start(join(dir, 'state'));
  operator = await StoreClient.join(store, { kind: 'operator' });
  await operator.call('PUT', `/v1/credentials/${KEY}`, json(credentialRecord()));
  await operator.call('PUT', `/v1/credentials/${KEY}/material`, material({ value: SECRET }));
  await operator.call('PUT', '/v1/integrations/default/example', json(integrationRecord()));
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});
afterAll(async () => {
  operator?.close();
  await store?.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function sidecar(tags = ['llm']): Promise<StoreClient> {
  const client = await StoreClient.join(store, { kind: 'session', session: { ...SESSION, tags } });
  clients.push(client);
  return client;
}
const lease = (client: StoreClient) => client.call('POST', '/v1/leases', json({ credential: KEY }));
const leaseId = async (client: StoreClient) => String((await lease(client)).headers[LEASE_HEADERS.id]);
const codeOf = (answer: { json<T>(): T }) => answer.json<{ code: string }>().code;
const revoke = async (selector: object) =>
  (await admin(store, 'POST', '/v1/admin/revocations', json({ selector }))).json<RevocationAnswer>();
const joinToken = async () =>
  (
    await admin(store, 'POST', '/v1/admin/join-tokens', json({ kind: 'session', session: SESSION }))
  ).json<JoinTokenAnswer>().joinToken;
const events = async (kind: string) => (await auditOf(store)).filter(({ event }) => event.kind === kind);

/** Bytes as they stand on the wire, over TLS; what comes back until the store is silent or closes. */
async function raw(bytes: string, tls: StoreClient['tls'] = {}): Promise<string> {
  const { hostname, port } = new URL(store.storeUrl);
  const socket = tlsConnect({
    host: hostname,
    port: Number(port),
    ca: store.trustBundlePem,
    servername: STORE_DNS_NAME,
    ...tls,
  });
  socket.write(bytes);
  let answer = '';
  socket.setTimeout(500, () => socket.destroy());
  socket.on('data', (chunk) => (answer += chunk.toString('latin1'))).on('error', () => {});
  await once(socket, 'close');
  return answer;
}
const request = (method: string, path: string, body: object) => {
  const text = JSON.stringify(body);
  return `${method} ${path} HTTP/1.1\r\nhost: store\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`;
};

test('nothing is to be had with the id of a lease, one’s own, another’s or a guessed one', async () => {
  const [thief, owner] = [await sidecar([]), await sidecar()];
  const id = await leaseId(owner);
  for (const path of [`/v1/leases/${id}`, `/v1/leases/${'0'.repeat(32)}`, `/v1/leases?id=${id}`, `/v1/lease/${id}`])
    for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
      const answer = await thief.call(method, path, method === 'GET' ? undefined : json({ credential: KEY }));
      expect([method, path, answer.status >= 400]).toEqual([method, path, true]);
      expect(answer.body.toString()).not.toContain(SECRET);
    }
  for (const claim of [{ lease: id }, { session: owner.answer.session!.id }, { id }])
    expect(codeOf(await thief.call('POST', '/v1/leases', json({ credential: KEY, ...claim })))).toBe(
      'MalformedRequest',
    );
});

test('ids of leases cannot be guessed from others: 128 random bits', async () => {
  const client = await sidecar();
  const ids = new Set(await Promise.all(Array.from({ length: 20 }, () => leaseId(client))));
  expect(ids.size).toBe(20);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/);
  const first = new Set([...ids].map((id) => id.slice(0, 4)));
  expect(first.size).toBeGreaterThan(15);
});

test('a session cannot revoke, lift, list or end what is not its own', async () => {
  const [thief, victim] = [await sidecar(), await sidecar()];
  const session = victim.answer.session!.id;
  for (const [method, path, body] of [
    ['POST', '/v1/admin/revocations', { selector: { session } }],
    ['GET', '/v1/admin/revocations'],
    ['DELETE', '/v1/admin/revocations?id=everything'],
    ['DELETE', `/v1/admin/sessions/${session}`],
    ['DELETE', `/v1/sessions?session=${session}`],
    ['DELETE', `/v1/session?id=${session}`],
  ] as const) {
    const answer = await thief.call(method, path, body && json(body));
    if (path.startsWith('/v1/session?')) expect(answer.status, 'it ended itself').toBe(204);
    else expect(['NotFound', 'NotPermitted']).toContain(codeOf(answer));
  }
  expect((await lease(victim)).status).toBe(200);
});

test('use that is reported under the lease of another is on record as what it is: of the one who reported it', async () => {
  const [thief, owner] = [await sidecar(), await sidecar()];
  const leaseOfOwner = await leaseId(owner);
  const record = {
    atMs: Date.now(),
    count: 1,
    authority: 'evil.example:443',
    method: 'GET',
    path: '/',
    status: 200,
    leaseId: leaseOfOwner,
    bytesUp: 1,
    bytesDown: 1,
    durationMs: 1,
  };
  expect((await thief.call('POST', '/v1/usage', json({ records: [record], dropped: 0 }))).status).toBe(204);
  const entry = (await events('usage.reported')).find(({ event }) => JSON.stringify(event).includes(leaseOfOwner));
  expect(entry!.event.session).toBe(thief.answer.session!.id);
});

test('a join token that is sent twice, by the same or another, at once or later, joins one', async () => {
  const token = await joinToken();
  const client = anonymous(store);
  clients.push(client);
  const join = () =>
    client.call('POST', '/v1/join', json({ joinToken: token, publicKeyPem: clientKey().publicKeyPem }));
  const before = (await events('session.started')).length;
  const answers = await Promise.all(Array.from({ length: 16 }, join));
  expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1);
  expect(codeOf(await join())).toBe('JoinTokenInvalid');
  expect((await events('session.started')).length).toBe(before + 1);
});

test('a join that was recorded and is sent again gets nothing, nor would its certificate be of use', async () => {
  const { publicKeyPem } = clientKey();
  const recorded = request('POST', '/v1/join', { joinToken: await joinToken(), publicKeyPem });
  expect(await raw(recorded)).toContain('HTTP/1.1 200');
  expect(await raw(recorded)).toMatch(/HTTP\/1.1 401[\s\S]*JoinTokenInvalid/);
});

test('a request for a lease that was recorded is nothing without its identity, and no more than its own with another', async () => {
  const [owner, other] = [await sidecar(), await sidecar([])];
  const recorded = request('POST', '/v1/leases', { credential: KEY });
  expect(await raw(recorded, owner.tls)).toContain(SECRET);
  expect(await raw(recorded)).toMatch(/^HTTP\/1.1 401[\s\S]*NotAuthenticated/);
  expect(await raw(recorded, other.tls)).toMatch(/^HTTP\/1.1 403[\s\S]*NotGranted/);
});

test('a renewal that was recorded renews whoever sends it, never the one who sent it first', async () => {
  const [owner, other] = [await sidecar(), await sidecar([])];
  const { publicKeyPem } = clientKey();
  const renewed = (await other.call('POST', '/v1/renew', json({ publicKeyPem }))).json<JoinAnswer>();
  expect(renewed.session!.id).toBe(other.answer.session!.id);
  expect(renewed.session!.id).not.toBe(owner.answer.session!.id);
});

test('the encrypted bytes of a connection, sent again, open none: nothing happens and nothing is on record', async () => {
  const client = await sidecar();
  const { port } = new URL(store.storeUrl);
  const recorded: Buffer[] = [];
  const proxy = createServer((near: Socket) => {
    const far = connect(Number(port), '127.0.0.1');
    near.on('data', (chunk) => recorded.push(Buffer.from(chunk))).on('error', () => far.destroy());
    near.pipe(far).on('error', () => near.destroy());
    far.pipe(near);
  });
  await once(proxy.listen(0, '127.0.0.1'), 'listening');
  const through = new StoreClient(
    { storeUrl: `https://127.0.0.1:${(proxy.address() as AddressInfo).port}`, trustBundlePem: store.trustBundlePem },
    client.answer,
    client.tls,
  );
  expect((await lease(through)).status).toBe(200);
  through.close();
  const before = (await auditOf(store)).length;
  const again = connect(Number(port), '127.0.0.1');
  let answer = '';
  again.on('data', (chunk) => (answer += chunk.toString('latin1'))).on('error', () => {});
  again.setTimeout(1_000, () => again.destroy());
  again.write(Buffer.concat(recorded));
  await once(again, 'close');
  expect(answer).not.toContain(SECRET);
  expect(answer).not.toContain('HTTP/1.1');
  expect((await auditOf(store)).length).toBe(before);
  proxy.close();
});

test('an identity that is revoked is refused on the connection that it has open, at the very next request', async () => {
  const client = await sidecar();
  client.agent.maxSockets = 1;
  expect((await lease(client)).status).toBe(200);
  await revoke({ tag: 'llm' });
  expect(codeOf(await lease(client))).toBe('Revoked');
  await admin(store, 'DELETE', '/v1/admin/revocations?id=tag%3Allm');
  expect((await lease(client)).status).toBe(200);
  await revoke({ session: client.answer.session!.id });
  for (const [method, path] of [
    ['POST', '/v1/leases'],
    ['POST', '/v1/usage'],
    ['POST', '/v1/renew'],
    ['GET', '/v1/session/events'],
    ['GET', '/v1/session/snapshot'],
    ['DELETE', '/v1/session'],
  ] as const)
    expect(codeOf(await client.call(method, path, method === 'POST' ? json({ credential: KEY }) : undefined))).toBe(
      'IdentityRevoked',
    );
});

test('the event stream of a session that ended says so, closes, and is not opened again', async () => {
  const client = await sidecar();
  const stream = await client.events();
  expect((await stream.next())?.type).toBe('snapshot');
  await revoke({ session: client.answer.session!.id });
  expect(await stream.next()).toMatchObject({ type: 'end' });
  expect(await stream.next()).toBeUndefined();
  const again = await client.events();
  expect(again.response.statusCode).toBe(401);
});

test('whoever comes back with the cursor of another session is told its own grants', async () => {
  const [owner, other] = [await sidecar(), await sidecar([])];
  const answer = await owner.call('GET', '/v1/session/snapshot?cursor=');
  const [snapshot] = answer.body.toString().trim().split('\n');
  const { cursor } = JSON.parse(snapshot!);
  const stolen = await other.call('GET', `/v1/session/snapshot?cursor=${encodeURIComponent(cursor)}`);
  expect(stolen.body.toString()).not.toContain(KEY);
  expect(JSON.parse(stolen.body.toString().split('\n')[0]!)).toMatchObject({ type: 'snapshot', grants: [] });
});

test('a pod that is revoked cannot join again, and its token stays good for after', async () => {
  const pod = { name: 'agent-0', uid: '0f8fad5b-d9cb-469f-a165-70867728950e' };
  const invitation = { kind: 'session', session: { ...SESSION, pod } } as const;
  const first = await StoreClient.join(store, invitation);
  clients.push(first);
  await revoke({ pod: pod.uid });
  expect(codeOf(await lease(first))).toBe('IdentityRevoked');
  const issued = await admin(store, 'POST', '/v1/admin/join-tokens', json(invitation));
  const body = json({ joinToken: issued.json<JoinTokenAnswer>().joinToken, publicKeyPem: clientKey().publicKeyPem });
  const stranger = anonymous(store);
  clients.push(stranger);
  expect(codeOf(await stranger.call('POST', '/v1/join', body))).toBe('Revoked');
  await admin(store, 'DELETE', `/v1/admin/revocations?id=pod%3A${pod.uid}`);
  expect((await stranger.call('POST', '/v1/join', body)).status).toBe(200);
});
