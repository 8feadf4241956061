import { expect, onTestFinished, test } from 'vitest';
import { Material } from '../../lib/material.ts';
import { LiveGrants } from '../grants/liveGrants.ts';
import { grantFor } from '../listen/testkit.ts';
import { StreamLease } from './streamLease.ts';

async function hold({ single = false } = {}) {
  const time = { ms: 0 };
  const store = { version: 1, away: false, asked: 0 };
  const clock = { nowMs: () => time.ms, monotonicMs: () => time.ms };
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const source = {
    async lease() {
      store.asked += 1;
      if (store.away) throw new Error('away');
      const material = new Material().set('value', Buffer.from('secret-secret'));
      return { id: 'x', version: store.version, expiresInSeconds: 60, single, material };
    },
  };
  const grants = new LiveGrants({ clock, log, source });
  onTestFinished(() => grants.end('the test is over'));
  const grant = { ...grantFor(['api.test']), ...(single && { single }) };
  grants.apply({ type: 'snapshot', grants: [grant], versions: { [grant.credential]: 1 } });
  if (single) grants.leases.obtain(grant.credential, () => {});
  await new Promise(setImmediate);
  const lease = grants.leases.held(grant.credential)!;
  return { time, store, grants, stream: new StreamLease(lease, grants.leases), credential: grant.credential };
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 5));

test('a stream goes on past its lease while that is renewed, which its use brings about', async () => {
  const { time, stream } = await hold();
  for (time.ms = 0; time.ms < 300_000; time.ms += 1_000) {
    expect(stream.over(time.ms)).toBe(false);
    await new Promise(setImmediate);
  }
});

test('a stream drains for 30 s when its lease ends and the store is away, and goes on if that comes back', async () => {
  const { time, stream, store } = await hold();
  store.away = true;
  for (time.ms = 0; time.ms < 89_000; time.ms += 1_000) expect(stream.over(time.ms)).toBe(false);
  await settle();
  store.away = false;
  expect(stream.over(time.ms)).toBe(false);
  time.ms = 91_000;
  expect(stream.over(time.ms)).toBe(true);
});

test('a stream drains when its lease ends and another version is in force', async () => {
  const { time, stream, store, grants, credential } = await hold();
  store.version = 2;
  grants.apply({ type: 'version', credential, version: 2 });
  await settle();
  time.ms = 59_000;
  expect(stream.over(time.ms)).toBe(false);
  time.ms = 60_000;
  expect(stream.over(time.ms)).toBe(false);
  time.ms = 90_000;
  expect(stream.over(time.ms)).toBe(true);
});

test('a stream of a credential with maxUses spends no use when its lease ends: it drains and is cut', async () => {
  const { time, stream, store, grants, credential } = await hold({ single: true });
  grants.leases.held(credential)!.retain();
  for (time.ms = 0; time.ms < 90_000; time.ms += 1_000) {
    expect(stream.over(time.ms)).toBe(false);
    await new Promise(setImmediate);
  }
  expect(stream.over(time.ms)).toBe(true);
  expect(store.asked).toBe(1);
});
