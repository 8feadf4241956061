import type { ServerResponse } from 'node:http';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Revocation, RevocationAnswer, Selector } from '../../api/revocation.ts';
import { until } from '../../sidecar/link/testkit.ts';
import { admin, json } from '../store/storeClient.ts';
import { LOOPBACK, SidecarProcess } from './sidecarProcess.ts';
import { TestStore } from './testStore.ts';
import { TestUpstream } from './upstream.ts';

const SECRET = 'sk-the-real-key-of-the-test';
/** From the request to revoke to the first refusal, at the most. */
const LIMIT_MS = 1_000;
let store: TestStore;
let upstream: TestUpstream;
let sidecar: SidecarProcess;
let streams: ServerResponse[];

beforeAll(async () => {
  store = await TestStore.start();
  upstream = await TestUpstream.start((request, response) => {
    if (request.url !== '/stream') response.end('hello');
    else {
      response.write('first ');
      streams.push(response);
    }
  });
});
afterAll(async () => {
  upstream?.stop();
  await store?.stop();
});
beforeEach(async () => {
  streams = [];
  upstream.seen.length = 0;
  sidecar = await SidecarProcess.start({
    store,
    extraCaPem: upstream.caPem,
    credentials: { 'default/key': { hosts: [upstream.host], material: SECRET } },
    integrations: { 'default/example': { hosts: [upstream.host], alias: 'example', allowedNetworks: LOOPBACK } },
  });
});
afterEach(async () => {
  await sidecar.close();
  for (const { id } of await store.sessions()) await store.endSession(id);
  for (const { id } of (await admin(store.process, 'GET', '/v1/admin/revocations')).json<Revocation[]>())
    await lift(id);
});

async function get(path = '/'): Promise<{ status: number; code: string | null; text: string }> {
  const answer = await fetch(`http://127.0.0.1:${sidecar.proxyPort}/example${path}`);
  return { status: answer.status, code: answer.headers.get('sidekey-error'), text: await answer.text() };
}
const call = (selector: Selector) => admin(store.process, 'POST', '/v1/admin/revocations', json({ selector }));
const revoke = async (selector: Selector) => (await call(selector)).json<RevocationAnswer>();
const lift = (id: string) => admin(store.process, 'DELETE', `/v1/admin/revocations?id=${encodeURIComponent(id)}`);
const refused = () =>
  until(async () => {
    const answer = await get();
    return answer.status === 403 && answer;
  });

test.each<[Selector, string]>([
  [{ role: 'coder' }, 'role:coder'],
  [{ tag: 'llm', namespace: 'default' }, 'tag:llm@default'],
  [{ serviceAccount: 'default', namespace: 'default' }, 'serviceaccount:default@default'],
  [{ namespace: 'default' }, 'namespace:default'],
  [{ credential: 'default/key' }, 'credential:default/key'],
  [{ everything: true }, 'everything'],
])('%j: an agent is refused within a second and told by what, and goes on when it is lifted', async (selector, id) => {
  expect((await get()).status).toBe(200);
  const atMs = performance.now();
  expect((await revoke(selector)).sessionCount).toBe(1);
  const answer = await refused();
  const tookMs = performance.now() - atMs;
  console.log(`${id}: the first refusal ${tookMs.toFixed(1)} ms after the request to revoke`);
  expect(tookMs).toBeLessThan(LIMIT_MS);
  expect(answer).toMatchObject({ code: 'Revoked', text: expect.stringContaining(`sidekey revoke lift ${id}`) });
  const before = upstream.seen.length;
  expect((await get()).code).toBe('Revoked');
  expect(upstream.seen.length).toBe(before);
  expect((await lift(id)).status).toBe(200);
  await until(async () => (await get()).status === 200);
  expect(upstream.seen.at(-1)).toBe(`Bearer ${SECRET}`);
});

test('a stream that is open is cut', async () => {
  const answer = await fetch(`http://127.0.0.1:${sidecar.proxyPort}/example/stream`);
  const reader = answer.body!.getReader();
  await reader.read();
  await revoke({ tag: 'llm' });
  await expect(reader.read()).rejects.toThrow();
  await lift('tag:llm');
});

test('what was revoked while the sidecar could not hear of it holds as soon as it hears again', async () => {
  expect((await get()).status).toBe(200);
  await revoke({ tag: 'llm' });
  await store.restart();
  expect(await refused()).toMatchObject({ code: 'Revoked' });
  await lift('tag:llm');
  await until(async () => (await get()).status === 200);
});

test('an agent that begins while a revocation stands is refused with Revoked, and not passed through bare', async () => {
  await revoke({ role: 'coder' });
  await sidecar.stop();
  sidecar = await SidecarProcess.start({ store, extraCaPem: upstream.caPem });
  expect(await get()).toMatchObject({ status: 403, code: 'Revoked' });
  expect(upstream.seen).toEqual([]);
  await lift('role:coder');
  await until(async () => (await get()).status === 200);
});

test('a lease that is revoked is given up, what runs under it is cut, and the next request gets another one', async () => {
  const answer = await fetch(`http://127.0.0.1:${sidecar.proxyPort}/example/stream`);
  const reader = answer.body!.getReader();
  await reader.read();
  const session = await sidecar.sessionId();
  const { leases } = await (
    await admin(store.process, 'POST', '/v1/admin/revocations', json({ selector: { session }, dryRun: true }))
  ).json<RevocationAnswer>();
  expect(leases).toHaveLength(1);
  const [lease] = leases;
  expect((await revoke({ lease: lease!.id })).leaseCount).toBe(1);
  await expect(reader.read()).rejects.toThrow();
  expect((await get()).status).toBe(200);
  const [now] = (
    await (
      await admin(store.process, 'POST', '/v1/admin/revocations', json({ selector: { session }, dryRun: true }))
    ).json<RevocationAnswer>()
  ).leases;
  expect(now!.id).not.toBe(lease!.id);
});

test('a session that is revoked stays so', async () => {
  const session = await sidecar.sessionId();
  expect(await revoke({ session })).toMatchObject({ sessionCount: 1, already: false });
  expect(await refused()).toMatchObject({ code: 'Revoked' });
  expect((await call({ session })).status).toBe(404);
  expect((await lift(`session:${session}`)).status).toBe(404);
});

test('the operator ends the sessions of a pod or a session, and to do so twice is no error', async () => {
  const session = await sidecar.sessionId();
  for (const query of ['pod=0f8fad5b', `session=${session}`, `session=${session}`])
    expect((await store.operator('DELETE', `/v1/sessions?${query}`)).status).toBe(204);
  expect(await refused()).toMatchObject({ code: 'Revoked' });
});
