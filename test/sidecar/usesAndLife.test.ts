import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { CredentialRecord } from '../../api/protocol.ts';
import { until } from '../../sidecar/link/testkit.ts';
import { auditOf } from '../store/storeClient.ts';
import { LOOPBACK, SidecarProcess } from './sidecarProcess.ts';
import { TestStore } from './testStore.ts';
import { TestUpstream } from './upstream.ts';

let store: TestStore;
let upstream: TestUpstream;
let sidecar: SidecarProcess;
/** Status that the upstream answers with. */
let status = 200;

beforeAll(async () => {
  store = await TestStore.start();
  upstream = await TestUpstream.start((_request, response) => {
    response.statusCode = status;
    response.end('hello');
  });
});
afterAll(async () => {
  upstream?.stop();
  await store?.stop();
});
afterEach(async () => {
  status = 200;
  upstream.seen.length = 0;
  await sidecar.close();
});

let count = 0;
async function start(changes: Partial<CredentialRecord>): Promise<string> {
  count += 1;
  const key = `default/key-${count}`;
  sidecar = await SidecarProcess.start({
    store,
    extraCaPem: upstream.caPem,
    credentials: { [key]: { hosts: [upstream.host], material: 'sk-1', ...changes } },
    integrations: {
      'default/example': { credential: key, hosts: [upstream.host], alias: 'example', allowedNetworks: LOOPBACK },
    },
  });
  return key;
}
async function get(): Promise<{ status: number; code: string | null; text: string }> {
  const answer = await fetch(`http://127.0.0.1:${sidecar.proxyPort}/example/`);
  return { status: answer.status, code: answer.headers.get('sidekey-error'), text: await answer.text() };
}
const leasesOf = async (key: string) =>
  (await auditOf(store.process)).filter(({ event }) => event.kind === 'lease.issued' && event.credential === key);

test('a one-time credential is good for one request, and told to be renewed after', async () => {
  const key = await start({ maxUses: 1 });
  expect(await leasesOf(key), 'nothing is spent before it is needed').toEqual([]);
  expect(await get()).toMatchObject({ status: 200 });
  expect(await get()).toMatchObject({
    status: 503,
    code: 'CredentialUnavailable',
    text: expect.stringContaining('new value'),
  });
  expect(upstream.seen).toEqual(['Bearer sk-1']);
  await store.material('sk-2', key);
  await until(async () => (await get()).status === 200);
  expect(upstream.seen).toEqual(['Bearer sk-1', 'Bearer sk-2']);
  expect(await leasesOf(key)).toHaveLength(2);
});

test('of twenty requests at once exactly as many go through as maxUses says', async () => {
  const key = await start({ maxUses: 7 });
  const answers = await Promise.all(Array.from({ length: 20 }, get));
  expect(answers.filter((answer) => answer.status === 200)).toHaveLength(7);
  expect(upstream.seen).toHaveLength(7);
  expect(await leasesOf(key)).toHaveLength(7);
});

test('an upstream that refuses a one-time credential costs no second use', async () => {
  const key = await start({ maxUses: 2 });
  status = 401;
  expect(await get()).toMatchObject({ status: 401 });
  expect(await leasesOf(key)).toHaveLength(1);
});

test('a version whose life is over is refused, and told to be renewed', async () => {
  const key = await start({ maxLifetimeSeconds: 3 });
  expect(await get()).toMatchObject({ status: 200 });
  const answer = await until(async () => {
    const one = await get();
    return one.status !== 200 && one;
  });
  expect(answer).toMatchObject({
    status: 503,
    code: 'CredentialUnavailable',
    text: expect.stringContaining('maxLifetime'),
  });
  await store.material('sk-2', key);
  await until(async () => (await get()).status === 200);
  expect(upstream.seen.at(-1)).toBe('Bearer sk-2');
});

test('a generated value is made anew before its life is over, and the agent does not notice', async () => {
  await start({
    source: 'generated',
    generated: { bytes: 16, encoding: 'Hex' },
    maxLifetimeSeconds: 4,
    leaseSeconds: 2,
    material: undefined,
  } as Partial<CredentialRecord>);
  const untilMs = performance.now() + 6_000;
  while (performance.now() < untilMs) {
    expect((await get()).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(new Set(upstream.seen).size).toBeGreaterThanOrEqual(2);
});
