import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { AdminSession, JoinTokenAnswer } from '../../api/admin.ts';
import type { JoinAnswer } from '../../api/protocol.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { admin, anonymous, auditOf, clientKey, json, material, SESSION, StoreClient } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

const SECRET = 'sk-of-the-others';
let dir: string;
let store: StoreProcess;
let operator: StoreClient;
const clients: StoreClient[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-access-'));
  store = await StoreProcess.start(join(dir, 'state'));
  operator = await StoreClient.join(store, { kind: 'operator' });
  for (const name of ['mine', 'theirs']) {
    await operator.call('PUT', `/v1/credentials/default/${name}`, json(credentialRecord()));
    await operator.call('PUT', `/v1/credentials/default/${name}/material`, material({ value: SECRET }));
    const record = integrationRecord({ credential: `default/${name}`, subjects: { tags: [name] } });
    await operator.call('PUT', `/v1/integrations/default/${name}`, json(record));
  }
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});
afterAll(async () => {
  operator?.close();
  await store?.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function sidecar(tags = ['mine']): Promise<StoreClient> {
  const client = await StoreClient.join(store, { kind: 'session', session: { ...SESSION, tags } });
  clients.push(client);
  return client;
}
function stranger(): StoreClient {
  const client = anonymous(store);
  clients.push(client);
  return client;
}
const lease = (client: StoreClient, credential: string) => client.call('POST', '/v1/leases', json({ credential }));
const codeOf = (answer: { json<T>(): T }) => answer.json<{ code: string }>().code;

test('a session leases what it is granted, and nothing else', async () => {
  const client = await sidecar();
  expect((await lease(client, 'default/mine')).status).toBe(200);
  for (const credential of ['default/theirs', 'other/mine', 'default/unknown']) {
    const answer = await lease(client, credential);
    expect([answer.status, codeOf(answer)]).toEqual([403, 'NotGranted']);
    expect(answer.body.includes(SECRET)).toBe(false);
  }
});

test('what a session says of itself does not count', async () => {
  const client = await sidecar([]);
  const claim = json({ credential: 'default/mine', namespace: 'default', tags: ['mine'] });
  expect((await client.call('POST', '/v1/leases', claim)).status).toBe(400);
  expect((await lease(client, 'default/mine')).status).toBe(403);
});

test('without a client certificate there is only joining', async () => {
  const client = stranger();
  const requests = [
    ['POST', '/v1/leases'],
    ['GET', '/v1/session/events'],
    ['POST', '/v1/renew'],
    ['POST', '/v1/usage'],
    ['DELETE', '/v1/session'],
    ['GET', '/v1/objects'],
    ['PUT', '/v1/credentials/default/mine'],
    ['PUT', '/v1/credentials/default/mine/material'],
    ['GET', '/v1/admin/sessions'],
    ['GET', '/anything'],
  ] as const;
  for (const [method, path] of requests) {
    const answer = await client.call(method, path, method === 'GET' ? undefined : json({}));
    expect([path, answer.status, codeOf(answer)]).toEqual([path, 401, 'NotAuthenticated']);
  }
});

test('a certificate of another store opens nothing', async () => {
  const other = await StoreProcess.start(join(dir, 'other'));
  const foreign = await StoreClient.join(other, { kind: 'session', session: { ...SESSION, tags: ['mine'] } });
  const client = new StoreClient(store, foreign.answer, foreign.tls);
  clients.push(foreign, client);
  const answer = await lease(client, 'default/mine');
  expect([answer.status, codeOf(answer)]).toEqual([401, 'NotAuthenticated']);
  await other.stop();
});

test('a session may not do what the operator does, nor the operator what sessions do', async () => {
  const client = await sidecar();
  for (const [method, path] of [
    ['GET', '/v1/objects'],
    ['PUT', '/v1/credentials/default/mine'],
    ['PUT', '/v1/integrations/default/mine'],
    ['DELETE', '/v1/integrations/default/mine'],
  ] as const)
    expect(codeOf(await client.call(method, path))).toBe('NotPermitted');
  const answer = await client.call('PUT', '/v1/credentials/default/mine/material', material({ value: 'x' }));
  expect(codeOf(answer)).toBe('NotPermitted');
  expect(codeOf(await lease(operator, 'default/mine'))).toBe('NotPermitted');
});

test('a join token is good once, and no other is good at all', async () => {
  const issued = await admin(store, 'POST', '/v1/admin/join-tokens', json({ kind: 'operator' }));
  const { joinToken } = issued.json<JoinTokenAnswer>();
  const { publicKeyPem } = clientKey();
  const client = stranger();
  const join = (token: string, key = publicKeyPem) =>
    client.call('POST', '/v1/join', json({ joinToken: token, publicKeyPem: key }));
  expect(codeOf(await join(joinToken, 'no key'))).toBe('MalformedRequest');
  expect((await join(joinToken)).status).toBe(200);
  expect(codeOf(await join(joinToken))).toBe('JoinTokenInvalid');
  expect(codeOf(await join('A'.repeat(43)))).toBe('JoinTokenInvalid');
  const refused = (await auditOf(store)).filter((entry) => entry.event.kind === 'join.refused');
  expect(refused.map((entry) => entry.event.code)).toEqual([
    'MalformedRequest',
    'JoinTokenInvalid',
    'JoinTokenInvalid',
  ]);
  expect(JSON.stringify(refused)).not.toContain(joinToken);
});

test('a session that ended is refused at once, on connections that were open before and on new ones', async () => {
  const client = await sidecar();
  const events = await client.events();
  expect((await events.next())?.type).toBe('snapshot');
  expect((await lease(client, 'default/mine')).status).toBe(200);
  expect((await admin(store, 'DELETE', `/v1/admin/sessions/${client.answer.session!.id}`)).status).toBe(204);
  expect(await events.next()).toEqual({ type: 'end', reason: 'ended by the owner' });
  expect(codeOf(await lease(client, 'default/mine'))).toBe('IdentityRevoked');
  const again = new StoreClient(store, client.answer, client.tls);
  clients.push(again);
  expect(codeOf(await lease(again, 'default/mine'))).toBe('IdentityRevoked');
  expect(codeOf(await again.call('POST', '/v1/renew', json({ publicKeyPem: clientKey().publicKeyPem })))).toBe(
    'IdentityRevoked',
  );
});

test('a session that ended stays so after a restart', async () => {
  const client = await sidecar();
  expect((await client.call('DELETE', '/v1/session')).status).toBe(204);
  operator.close();
  await store.kill();
  store = await StoreProcess.start(store.stateDir);
  operator = await StoreClient.join(store, { kind: 'operator' });
  const again = new StoreClient(store, client.answer, client.tls);
  clients.push(again);
  expect(codeOf(await lease(again, 'default/mine'))).toBe('IdentityRevoked');
});

test('a renewed identity is the same session, with a key of its own', async () => {
  const client = await sidecar();
  const { publicKeyPem, key } = clientKey();
  const renewed = (await client.call('POST', '/v1/renew', json({ publicKeyPem }))).json<JoinAnswer>();
  expect(renewed.session).toEqual(client.answer.session);
  expect(renewed.expiresInSeconds).toBe(3600);
  expect(renewed.renewInSeconds).toBeGreaterThanOrEqual(1440);
  expect(renewed.renewInSeconds).toBeLessThanOrEqual(2160);
  const next = new StoreClient(store, renewed, { key, cert: renewed.certificatePem });
  clients.push(next);
  expect((await lease(next, 'default/mine')).status).toBe(200);
});

test('a session that asks too much is slowed down, the others are not', async () => {
  const runaway = await sidecar();
  const other = await sidecar();
  const answers = await Promise.all(Array.from({ length: 150 }, () => lease(runaway, 'default/mine')));
  const slowed = answers.filter((answer) => answer.status === 429);
  expect(slowed.length).toBeGreaterThan(20);
  expect(slowed[0]!.headers['retry-after']).toMatch(/^[123]$/);
  expect((await lease(other, 'default/mine')).status).toBe(200);
});

test('only its owner can connect to the admin socket, and sees who is there', async () => {
  expect(statSync(store.adminSocket).mode & 0o777).toBe(0o600);
  const client = await sidecar();
  await lease(client, 'default/mine');
  const sessions = (await admin(store, 'GET', '/v1/admin/sessions')).json<AdminSession[]>();
  expect(sessions.find(({ id }) => id === client.answer.session!.id)).toMatchObject({
    ...SESSION,
    tags: ['mine'],
    leases: 1,
  });
});
