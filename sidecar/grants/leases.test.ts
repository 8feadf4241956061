import { setImmediate as settled } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LeaseRequest } from '../../api/protocol.ts';
import { Material } from '../../lib/material.ts';
import { ManualClock } from '../../store/testing/clock.ts';
import type { Refusal } from '../errors.ts';
import { StoreFailure, UNREACHABLE } from '../link/storeFailure.ts';
import { quiet } from '../link/testkit.ts';
import type { HeldLease, IssuedLease } from './lease.ts';
import { Leases } from './leases.ts';

/** The far end of the store's protocol, which answers when the test says so. */
class PlayedStore {
  readonly asked: (LeaseRequest & PromiseWithResolvers<IssuedLease>)[] = [];
  readonly given: Buffer[] = [];

  lease(request: LeaseRequest): Promise<IssuedLease> {
    const answer = Promise.withResolvers<IssuedLease>();
    this.asked.push({ ...request, ...answer });
    return answer.promise;
  }

  async give(version = 1, expiresInSeconds = 90, more: { id?: string; single?: boolean } = {}): Promise<void> {
    const material = new Material().set('value', Buffer.from(`sk-${version}`));
    this.given.push(material.bytes('value')!);
    this.asked.shift()!.resolve({ id: `lease-${version}`, version, expiresInSeconds, material, ...more });
    await settled();
  }

  async fail(code: string, retryAfterSeconds?: number): Promise<void> {
    this.asked.shift()!.reject(new StoreFailure(code, code, { retryAfterSeconds }));
    await settled();
  }
}

const KEY = 'default/key';
let clock: ManualClock;
let store: PlayedStore;
let leases: Leases;

beforeEach(() => {
  clock = new ManualClock();
  store = new PlayedStore();
  leases = new Leases({ clock, log: quiet, source: store });
  leases.grant(new Set([KEY]));
  leases.version(KEY, 1);
});
afterEach(() => leases.end());

type Result = HeldLease | Refusal;

function obtain(): Result[] {
  const results: Result[] = [];
  leases.obtain(KEY, (result) => results.push(result));
  return results;
}
const refusal = (code: string) => expect.objectContaining({ kind: 'refuse', code });
const version = (n: number) => expect.objectContaining({ version: n });
const isZero = (bytes: Buffer) => bytes.every((byte) => byte === 0);

test('however many ask, the store is asked once, and all get the answer', async () => {
  const all = Array.from({ length: 20 }, obtain);
  expect(store.asked.length).toBe(1);
  expect(leases.stats()).toEqual({ held: 0, waiting: 20 });
  await store.give();
  for (const results of all) expect(results).toEqual([version(1)]);
  expect(obtain()).toEqual([version(1)]);
  expect(leases.held(KEY)).toEqual(version(1));
  expect(store.asked.length).toBe(0);
  expect(leases.stats()).toEqual({ held: 1, waiting: 0 });
});

test('who calls it off is not called back', async () => {
  let called = 0;
  leases.obtain(KEY, () => (called += 1))();
  await store.give();
  expect(called).toBe(0);
});

test('only so many wait', () => {
  for (let i = 0; i < 1_024; i += 1) obtain();
  expect(obtain()).toEqual([refusal('Overloaded')]);
});

test('a request that fails with its lease does not keep the others from theirs', async () => {
  leases.obtain(KEY, () => {
    throw new Error('one that fails');
  });
  const other = obtain();
  await store.give();
  expect(other).toEqual([version(1)]);
});

test('a lease in use is renewed at half of its life with jitter, without anybody waiting', async () => {
  obtain();
  await store.give(1, 90);
  clock.advance(35);
  leases.tick();
  expect(store.asked.length).toBe(0);
  clock.advance(20);
  leases.tick();
  expect(store.asked.length).toBe(1);
  const before = leases.held(KEY)!;
  await store.give(1, 90);
  expect(leases.held(KEY)).not.toBe(before);
  expect(before.destroyed).toBe(true);
  clock.advance(50);
  expect(leases.held(KEY)).toBeDefined();
});

test('a lease that nobody used since is not renewed, and its bytes are overwritten when it ends', async () => {
  leases.prefetch(KEY);
  await store.give(1, 90);
  clock.advance(89);
  leases.tick();
  expect(store.asked.length).toBe(0);
  expect(isZero(store.given[0]!)).toBe(false);
  clock.advance(1);
  leases.tick();
  expect(isZero(store.given[0]!)).toBe(true);
  expect(leases.held(KEY)).toBeUndefined();
});

test('a lease that is used late is renewed then', async () => {
  leases.prefetch(KEY);
  await store.give(1, 90);
  clock.advance(70);
  expect(leases.held(KEY)).toBeDefined();
  expect(store.asked.length).toBe(1);
});

test('while the store is away the lease is used to its end and no longer', async () => {
  obtain();
  await store.give(1, 90);
  clock.advance(60);
  leases.tick();
  await store.fail(UNREACHABLE);
  clock.advance(29);
  expect(leases.held(KEY)).toBeDefined();
  await store.fail(UNREACHABLE);
  clock.advance(1);
  expect(leases.held(KEY)).toBeUndefined();
  const waiting = obtain();
  for (let i = 0; i < 4 && waiting.length === 0; i += 1) {
    await store.fail(UNREACHABLE);
    while (store.asked.length === 0 && waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(waiting).toEqual([refusal('StoreUnavailable')]);
  expect(waiting[0]).toMatchObject({ retryAfterSeconds: 1 });
});

test('a store that restarts is not noticed by who waits', async () => {
  const waiting = obtain();
  await store.fail(UNREACHABLE);
  expect(waiting).toEqual([]);
  while (store.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  await store.give();
  expect(waiting).toEqual([version(1)]);
});

test('the store is not asked again at once after it refused', async () => {
  obtain();
  await store.fail('TooManyRequests', 3);
  for (let i = 0; i < 100; i += 1) expect(obtain()).toEqual([refusal('Overloaded')]);
  expect(store.asked.length).toBe(0);
  clock.advance(3);
  obtain();
  expect(store.asked.length).toBe(1);
});

test.each([
  ['NotGranted', 'Revoked'],
  ['IdentityRevoked', 'Revoked'],
  ['MaterialMissing', 'CredentialUnavailable'],
  ['MaterialDamaged', 'CredentialUnavailable'],
  ['TooManyRequests', 'Overloaded'],
  ['StorageFailed', 'StoreUnavailable'],
])('%s of the store is %s to the agent', async (code, expected) => {
  const results = obtain();
  await store.fail(code);
  expect(results).toEqual([refusal(expected)]);
});

test('a new version replaces the lease at once', async () => {
  obtain();
  await store.give(1);
  const old = leases.held(KEY)!;
  old.retain();
  expect(leases.version(KEY, 2)).toBe(true);
  expect(leases.held(KEY)).toBeUndefined();
  expect(store.asked.length).toBe(1);
  const waiting = obtain();
  await store.give(2);
  expect(waiting).toEqual([version(2)]);
  expect(store.given[0]!.toString()).toBe('sk-1');
  old.release();
  expect(isZero(store.given[0]!)).toBe(true);
});

test('an answer that a new version has overtaken is overwritten and asked for again', async () => {
  const waiting = obtain();
  leases.version(KEY, 2);
  await store.give(1);
  expect(waiting).toEqual([]);
  expect(isZero(store.given[0]!)).toBe(true);
  await store.give(2);
  expect(waiting).toEqual([version(2)]);
});

test('a new version of a credential that is not used is not fetched', () => {
  leases.version(KEY, 2);
  expect(store.asked.length).toBe(0);
});

test('version 0 takes the lease back, and nobody waits for what is not there', async () => {
  obtain();
  await store.give(1);
  leases.version(KEY, 0);
  expect(isZero(store.given[0]!)).toBe(true);
  expect(obtain()).toEqual([refusal('CredentialUnavailable')]);
  expect(store.asked.length).toBe(0);
  leases.version(KEY, 2);
  const waiting = obtain();
  leases.version(KEY, 0);
  expect(waiting).toEqual([refusal('CredentialUnavailable')]);
  await store.give(2);
  expect(isZero(store.given[1]!)).toBe(true);
});

test('a credential that is not granted any more is given up, also on its way', async () => {
  obtain();
  await store.give(1);
  leases.grant(new Set());
  expect(isZero(store.given[0]!)).toBe(true);
  expect(obtain()).toEqual([refusal('Revoked')]);
  leases.grant(new Set([KEY]));
  const waiting = obtain();
  leases.grant(new Set());
  expect(waiting).toEqual([refusal('Revoked')]);
  await store.give(1);
  expect(isZero(store.given[1]!)).toBe(true);
});

test('after the end everything is refused for good', async () => {
  obtain();
  await store.give(1);
  leases.end();
  leases.grant(new Set([KEY]));
  expect(isZero(store.given[0]!)).toBe(true);
  expect(obtain()).toEqual([refusal('Revoked')]);
});

test('after a 401 the store is asked for a newer version, once a minute at most', async () => {
  obtain();
  await store.give(1, 900);
  const results: Result[] = [];
  const refresh = (of: number) => leases.refresh(KEY, of, (result) => results.push(result));
  refresh(1);
  refresh(1);
  expect(store.asked).toMatchObject([{ credential: KEY, refusedVersion: 1 }]);
  await store.give(1);
  expect(results).toEqual([refusal('CredentialUnavailable'), refusal('CredentialUnavailable')]);
  expect(isZero(store.given[1]!)).toBe(true);
  expect(leases.held(KEY)).toEqual(version(1));
  results.length = 0;
  refresh(1);
  expect(results).toEqual([refusal('CredentialUnavailable')]);
  clock.advance(59);
  leases.tick();
  refresh(1);
  expect(store.asked).toEqual([]);
  clock.advance(1);
  results.length = 0;
  refresh(1);
  await store.give(2);
  expect(results).toEqual([version(2)]);
  refresh(1);
  expect(results).toEqual([version(2), version(2)]);
  expect(store.asked.filter((request) => request.refusedVersion !== undefined)).toEqual([]);
});

test('news of an older version is late, and changes nothing', async () => {
  leases.version(KEY, 3);
  obtain();
  await store.give(3);
  expect(leases.version(KEY, 2)).toBe(false);
  expect(leases.held(KEY)).toEqual(version(3));
  expect(store.asked).toEqual([]);
  leases.version(KEY, 0);
  expect(leases.version(KEY, 2)).toBe(false);
  expect(obtain()).toEqual([refusal('CredentialUnavailable')]);
  leases.version(KEY, 4);
  obtain();
  await store.give(3);
  expect(leases.held(KEY)).toBeUndefined();
});

test('a lease that is revoked is given up, and what asks next gets another one', async () => {
  obtain();
  await store.give(1, 90, { id: 'revoked' });
  expect(leases.revokeLease('of another session')).toBeUndefined();
  expect(leases.revokeLease('revoked')).toBe(KEY);
  expect(leases.held(KEY)).toBeUndefined();
  expect(isZero(store.given[0]!)).toBe(true);
  const next = obtain();
  await store.give(1, 90, { id: 'next' });
  expect(next).toEqual([expect.objectContaining({ id: 'next' })]);
  // What runs under one that was renewed meanwhile is known too.
  expect(leases.revokeLease('revoked')).toBe(KEY);
});

test('a lease whose revocation has overtaken it is never used', async () => {
  const waiting = obtain();
  expect(leases.revokeLease('late')).toBeUndefined();
  await store.give(1, 90, { id: 'late' });
  expect(waiting).toEqual([]);
  expect(isZero(store.given[0]!)).toBe(true);
  await store.give(1, 90, { id: 'next' });
  expect(waiting).toEqual([expect.objectContaining({ id: 'next' })]);
});

test('who is refused because of a revocation hears which, and how it is lifted', () => {
  leases.grant(new Set(), { revoked: new Map([[KEY, 'tag:llm']]) });
  expect(obtain()).toMatchObject([{ code: 'Revoked', detail: expect.stringContaining('sidekey revoke lift tag:llm') }]);
});

test('a lease for one request goes to one of those who wait, and each of them gets its own', async () => {
  leases.grant(new Set([KEY]), { single: new Set([KEY]) });
  const used: string[] = [];
  const use = () =>
    leases.obtain(KEY, (result) => {
      if ('kind' in result) used.push(result.code);
      else {
        result.retain();
        used.push(result.id);
        result.release();
      }
    });
  for (let i = 0; i < 3; i += 1) use();
  for (const id of ['first', 'second']) {
    expect(store.asked).toMatchObject([{ single: true }]);
    await store.give(1, 90, { id, single: true });
  }
  expect(used).toEqual(['first', 'second']);
  expect(leases.held(KEY)).toBeUndefined();
  expect(store.given.every(isZero)).toBe(true);
  await store.fail('UsesExhausted');
  expect(used).toEqual(['first', 'second', 'CredentialUnavailable']);
});

test('a lease for one request that nobody took waits for the next request, and is neither renewed nor fetched beforehand', async () => {
  leases.grant(new Set([KEY]), { single: new Set([KEY]) });
  leases.prefetch(KEY);
  expect(store.asked).toEqual([]);
  leases.obtain(KEY, () => {});
  await store.give(1, 90, { id: 'kept', single: true });
  clock.advance(80);
  leases.tick();
  expect(store.asked).toEqual([]);
  const held = leases.held(KEY)!;
  expect(held.id).toBe('kept');
  held.retain();
  expect(leases.held(KEY)).toBeUndefined();
  expect(held.material.bytes('value')!.toString()).toBe('sk-1');
  held.release();
  expect(isZero(store.given[0]!)).toBe(true);
});

test('after a 401 no use is spent to ask whether there is a newer version', () => {
  leases.grant(new Set([KEY]), { single: new Set([KEY]) });
  const results: Result[] = [];
  leases.refresh(KEY, 1, (result) => results.push(result));
  expect(results).toEqual([refusal('CredentialUnavailable')]);
  expect(store.asked).toEqual([]);
  leases.version(KEY, 2);
  leases.refresh(KEY, 1, (result) => results.push(result));
  expect(store.asked).toMatchObject([{ single: true }]);
});

test('a store that gives a lease for many requests where it should be for one is not believed', async () => {
  leases.grant(new Set([KEY]), { single: new Set([KEY]) });
  const results = obtain();
  for (let i = 0; i < 3; i += 1) await store.give(1);
  expect(results).toEqual([refusal('StoreUnavailable')]);
  expect(store.given.every(isZero)).toBe(true);
});

test('a credential that becomes one for single requests gives up the lease that was for many', async () => {
  obtain();
  await store.give(1);
  leases.grant(new Set([KEY]), { single: new Set([KEY]) });
  expect(leases.held(KEY)).toBeUndefined();
  expect(isZero(store.given[0]!)).toBe(true);
});
