import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { SessionEvent } from '../../api/protocol.ts';
import { systemClock } from '../../lib/clock.ts';
import { TestStore } from '../../test/sidecar/testStore.ts';
import { auditOf } from '../../test/store/storeClient.ts';
import type { Refusal } from '../errors.ts';
import { EventStream } from '../link/eventStream.ts';
import { joinStore, quiet, until } from '../link/testkit.ts';
import type { HeldLease } from './lease.ts';
import { LiveGrants } from './liveGrants.ts';

let store: TestStore;

beforeAll(async () => {
  store = await TestStore.start();
});
afterAll(() => store?.stop());
beforeEach(async () => {
  await store.credential();
  await store.integration();
  await store.material(`sk-${Math.random()}`);
});

/** A sidecar's grants on a real store, with a clock that can be set forward. */
async function follow() {
  let aheadMs = 0;
  const clock = { nowMs: systemClock.nowMs, monotonicMs: () => systemClock.monotonicMs() + aheadMs };
  const revoked: string[] = [];
  const versions: [string, number][] = [];
  const identity = await joinStore(store, (reason) => grants.end(reason));
  const grants = new LiveGrants({ clock, log: quiet, source: identity.client });
  grants.onRevoked((integration) => revoked.push(integration));
  grants.onVersion((credential, version) => versions.push([credential, version]));
  const events: SessionEvent['type'][] = [];
  const stream = new EventStream({
    replicas: identity.replicas,
    context: () => identity.context,
    event: (event) => {
      events.push(event.type);
      grants.apply(event);
    },
    log: quiet,
    revoked: (reason) => grants.end(reason),
  });
  onTestFinished(() => {
    stream.close();
    grants.leases.end();
  });
  await grants.settled(5_000);
  return {
    events,
    grants,
    identity,
    revoked,
    versions,
    names: () => grants.table.entries.map((entry) => entry.integration),
    obtain: (credential = 'default/key') =>
      new Promise<HeldLease | Refusal>((resolve) => void grants.leases.obtain(credential, resolve)),
    sleep: (ms: number) => (aheadMs += ms),
  };
}

const secretOf = (lease: HeldLease | Refusal) => ('kind' in lease ? lease.code : `${lease.material.bytes('value')}`);

test('the first snapshot makes the table, and its leases are there before they are asked for', async () => {
  const { grants, names } = await follow();
  expect(grants.ready).toBe(true);
  expect(names()).toEqual(['default/example']);
  await until(() => grants.leases.stats().held === 1);
});

test('of many credentials only the first eight are leased before they are asked for', async () => {
  for (let i = 0; i < 10; i += 1) {
    await store.credential({}, `default/many-${i}`);
    await store.material('sk-many', `default/many-${i}`);
    await store.integration({ credential: `default/many-${i}` }, `default/many-${i}`);
  }
  onTestFinished(async () => {
    for (let i = 0; i < 10; i += 1) await store.removeIntegration(`default/many-${i}`);
  });
  const { grants, identity } = await follow();
  await until(() => grants.leases.stats().held === 8);
  await identity.client.lease({ credential: 'default/key' });
  expect(grants.leases.stats().held).toBe(8);
});

test('a granted Integration is used at once, a revoked one not any more', async () => {
  const { grants, names, obtain, revoked } = await follow();
  await store.credential({}, 'default/second');
  await store.material('sk-second', 'default/second');
  await store.integration({ credential: 'default/second' }, 'default/second');
  await until(() => names().includes('default/second'));
  expect(secretOf(await obtain('default/second'))).toBe('sk-second');
  const lease = grants.leases.held('default/second')!;
  const bytes = lease.material.bytes('value')!;
  await store.removeIntegration('default/second');
  await until(() => !names().includes('default/second'));
  expect(revoked).toEqual(['default/second']);
  expect(bytes).toEqual(Buffer.alloc(bytes.length));
  expect(secretOf(await obtain('default/second'))).toBe('Revoked');
  expect(names()).toEqual(['default/example']);
});

test('rotation: the first request after it gets the new version', async () => {
  const { grants, obtain, versions } = await follow();
  const before = (await obtain()) as HeldLease;
  await store.material('sk-rotated');
  await until(() => versions.length > 0);
  expect(versions).toEqual([['default/key', before.version + 1]]);
  expect(before.destroyed).toBe(true);
  expect(secretOf(await obtain())).toBe('sk-rotated');
  expect(grants.leases.held('default/key')).toMatchObject({ version: before.version + 1 });
});

test('the end of the session destroys everything and refuses the rest', async () => {
  const { grants, identity, names, obtain, revoked } = await follow();
  const lease = (await obtain()) as HeldLease;
  const bytes = lease.material.bytes('value')!;
  await store.endSession(identity.session.id);
  await until(() => grants.ended);
  expect(grants.ended).toBe('ended by the owner');
  expect(bytes).toEqual(Buffer.alloc(bytes.length));
  expect([names(), revoked]).toEqual([[], ['default/example']]);
  expect(secretOf(await obtain())).toBe('Revoked');
  grants.apply({ type: 'snapshot', grants: [], versions: {} });
  expect(grants.ended).toBe('ended by the owner');
});

test('a session that ended while the store was away is over when it is back', async () => {
  const { grants, identity } = await follow();
  const other = await joinStore(store);
  await store.process.kill();
  await store.restart();
  await store.endSession(other.session.id);
  await store.endSession(identity.session.id);
  expect(await until(() => grants.ended)).toBeTruthy();
});

test('while the store is away table and leases stay, until the leases end; then the agent is told to come back', async () => {
  const { events, grants, names, obtain, sleep } = await follow();
  const lease = (await obtain()) as HeldLease;
  await store.process.kill();
  expect(await obtain()).toBe(lease);
  sleep(899_000);
  expect(await obtain()).toBe(lease);
  expect(names()).toEqual(['default/example']);
  sleep(1_000);
  grants.leases.tick();
  expect(lease.destroyed).toBe(true);
  expect(await obtain()).toMatchObject({ kind: 'refuse', code: 'StoreUnavailable', retryAfterSeconds: 1 });
  const seen = events.length;
  await store.restart();
  await until(() => events.slice(seen).some((type) => type === 'snapshot' || type === 'resumed'));
  expect((await until(async () => 'id' in (await obtain()) && grants.leases.held('default/key')))!.version).toBe(
    lease.version,
  );
});

test('what was revoked and rotated while the link was down is known when it is back', async () => {
  await store.credential({}, 'default/gone');
  await store.material('sk-gone', 'default/gone');
  await store.integration({ credential: 'default/gone' }, 'default/gone');
  const { grants, obtain, names, revoked, events } = await follow();
  const first = (await obtain()) as HeldLease;
  const gone = (await obtain('default/gone')) as HeldLease;
  await store.process.kill();
  const seen = events.length;
  await store.restart();
  await store.removeIntegration('default/gone');
  await store.material('sk-while-away');
  // One that is back before the rest was done is told by what it resumes.
  const isBack = (type: string) => type === 'snapshot' || type === 'resumed';
  await until(() => events.slice(seen).some(isBack) && !names().includes('default/gone'));
  expect(revoked).toEqual(['default/gone']);
  expect(gone.destroyed).toBe(true);
  await until(() => first.destroyed);
  expect(secretOf(await obtain())).toBe('sk-while-away');
  expect(grants.ended).toBeUndefined();
});

test('a snapshot replaces what is held: what it does not name is revoked, older versions are given up', async () => {
  await store.credential({}, 'default/gone');
  await store.material('sk-gone', 'default/gone');
  await store.integration({ credential: 'default/gone' }, 'default/gone');
  onTestFinished(async () => {
    await store.removeIntegration('default/gone');
  });
  const { grants, names, obtain, revoked, versions } = await follow();
  const kept = (await obtain()) as HeldLease;
  const gone = (await obtain('default/gone')) as HeldLease;
  const entry = grants.table.entries.find(({ integration }) => integration === 'default/example')!;
  grants.apply({ type: 'snapshot', grants: [entry.grant], versions: { 'default/key': kept.version } });
  expect([names(), revoked, versions]).toEqual([['default/example'], ['default/gone'], []]);
  expect([kept.destroyed, gone.destroyed]).toEqual([false, true]);
  grants.apply({ type: 'snapshot', grants: [entry.grant], versions: { 'default/key': kept.version + 1 } });
  expect(kept.destroyed).toBe(true);
  expect(versions).toEqual([['default/key', kept.version + 1]]);
});

test('a thousand requests at once for a credential cost the store one lease', async () => {
  const { obtain, identity } = await follow();
  await Promise.all(Array.from({ length: 1_000 }, () => obtain()));
  const issued = (await auditOf(store.process)).filter(
    ({ event }) => event.kind === 'lease.issued' && event.session === identity.session.id,
  );
  expect(issued.length).toBe(1);
});
