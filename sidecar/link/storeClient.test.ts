import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:tls';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { TestStore } from '../../test/sidecar/testStore.ts';
import { auditOf } from '../../test/store/storeClient.ts';
import { createTestCa } from '../upstream/testkit.ts';
import { Identity } from './identity.ts';
import { StoreClient } from './storeClient.ts';
import type { StoreFailure } from './storeFailure.ts';
import { StoreReplicas } from './storeReplicas.ts';
import { joinStore, quiet, until } from './testkit.ts';

let store: TestStore;

beforeAll(async () => {
  store = await TestStore.start();
});
afterAll(() => store?.stop());
beforeEach(async () => {
  await store.credential({ leaseSeconds: 60 });
  await store.integration();
  await store.material('sk-first');
});

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error: unknown) => (error as StoreFailure).code,
  );

test('a sidecar joins, leases material, reports uses and ends its session', async () => {
  const { client, session } = await joinStore(store);
  const lease = await client.lease({ credential: 'default/key' });
  expect(lease).toMatchObject({ id: expect.stringMatching(/^[0-9a-f]{32}$/), expiresInSeconds: 60 });
  expect(lease.material.bytes('value')).toEqual(Buffer.from('sk-first'));
  lease.material.destroy();
  await client.report({
    records: [
      {
        atMs: 1,
        count: 2,
        authority: 'api.example.com:443',
        method: 'GET',
        path: '/',
        status: 200,
        bytesUp: 0,
        bytesDown: 1,
        durationMs: 1.5,
      },
    ],
    dropped: 0,
  });
  await client.endSession();
  expect(await codeOf(client.lease({ credential: 'default/key' }))).toBe('IdentityRevoked');
  const told = (await auditOf(store.process)).filter(({ event }) => JSON.stringify(event).includes(session.id));
  expect(told.map(({ event }) => event.kind)).toEqual([
    'session.started',
    'lease.issued',
    'usage.reported',
    'session.ended',
  ]);
});

test('the store’s reason comes with its code', async () => {
  const { client } = await joinStore(store);
  expect(await codeOf(client.lease({ credential: 'default/other' }))).toBe('NotGranted');
  await store.credential({}, 'default/empty');
  await store.integration({ credential: 'default/empty' }, 'default/empty');
  expect(await codeOf(client.lease({ credential: 'default/empty' }))).toBe('MaterialMissing');
});

test('of requests beyond the share of a session the store says when to come back', async () => {
  const { client } = await joinStore(store);
  const asked = Array.from({ length: 100 }, () => client.lease({ credential: 'default/key' }));
  const failures = (await Promise.allSettled(asked)).filter((result) => result.status === 'rejected');
  expect(failures.length).toBeGreaterThan(0);
  expect(failures[0]!.reason).toMatchObject({ code: 'TooManyRequests', retryAfterSeconds: expect.any(Number) });
});

test('large material arrives whole', async () => {
  const { client } = await joinStore(store);
  const value = 'x'.repeat(60_000);
  await store.material(value);
  const { material } = await client.lease({ credential: 'default/key' });
  expect(material.bytes('value')?.equals(Buffer.from(value))).toBe(true);
});

test('a join token is good once', async () => {
  const bootstrap = await store.bootstrap();
  const options = { clock: systemClock, log: quiet, bootstrap, revoked() {} };
  (await Identity.join(options)).close();
  await expect(Identity.join(options)).rejects.toMatchObject({ code: 'JoinFailed' });
});

test('who joins waits for a store that is not there yet', async () => {
  const bootstrap = await store.bootstrap();
  await store.process.kill();
  const warnings: string[] = [];
  const log = { ...quiet, warn: (_: object, message: string) => void warnings.push(message) };
  const joining = Identity.join({ clock: systemClock, log, bootstrap, revoked() {} });
  joining.catch(() => {});
  await until(() => warnings.length > 1);
  expect(warnings[0]).toBe('the store cannot be joined yet');
  await store.restart();
  (await joining).close();
});

test('a certificate is renewed when it is due, by whichever clock, and opens what the old one did', async () => {
  const times = { monotonic: 0, wall: 0 };
  const clock = {
    monotonicMs: () => systemClock.monotonicMs() + times.monotonic,
    nowMs: () => systemClock.nowMs() + times.wall,
  };
  const identity = await Identity.join({ clock, log: quiet, bootstrap: await store.bootstrap(), revoked() {} });
  onTestFinished(() => identity.close());
  for (const which of ['monotonic', 'wall'] as const) {
    const before = identity.context;
    identity.tick();
    expect(identity.context).toBe(before);
    times[which] += 3_600_000;
    identity.tick();
    await until(() => identity.context !== before);
    (await identity.client.lease({ credential: 'default/key' })).material.destroy();
  }
});

test('a renewal that the store refuses for good ends the session', async () => {
  let reason: string | undefined;
  let jumpMs = 0;
  const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + jumpMs };
  const bootstrap = await store.bootstrap();
  const identity = await Identity.join({ clock, log: quiet, bootstrap, revoked: (why) => (reason = why) });
  onTestFinished(() => identity.close());
  await store.endSession(identity.session.id);
  jumpMs = 3_600_000;
  identity.tick();
  expect(await until(() => reason)).toContain('IdentityRevoked');
});

test('a store that cannot prove its name is told nothing', async () => {
  const ca = createTestCa('other');
  const { key, cert } = ca.issue({ dnsNames: ['store.elsewhere.internal'] });
  let received = '';
  const server = createServer({ key, cert }, (socket) =>
    socket.on('error', () => {}).on('data', (d) => (received += d)),
  );
  server.on('tlsClientError', () => {});
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void server.close());
  const { context } = await joinStore(store);
  const client = new StoreClient(
    new StoreReplicas([{ host: '127.0.0.1', port: (server.address() as AddressInfo).port }]),
    context,
  );
  expect(await codeOf(client.lease({ credential: 'default/key' }))).toBe('Unreachable');
  expect(received).toBe('');
});

test('a store that is not there is Unreachable, also in the middle of an answer', async () => {
  const { client } = await joinStore(store);
  await client.lease({ credential: 'default/key' });
  await store.restart();
  expect(await codeOf(client.lease({ credential: 'default/key' }))).toBe('none');
  const underWay = codeOf(client.lease({ credential: 'default/key' }));
  await store.process.kill();
  expect(['none', 'Unreachable']).toContain(await underWay);
  expect(await codeOf(client.lease({ credential: 'default/key' }))).toBe('Unreachable');
  await store.restart();
  expect(await codeOf(client.lease({ credential: 'default/key' }))).toBe('none');
});
