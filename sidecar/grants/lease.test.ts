import { expect, test } from 'vitest';
import { Material } from '../../lib/material.ts';
import { ManualClock } from '../../store/testing/clock.ts';
import { HeldLease } from './lease.ts';

function held(clock = new ManualClock()) {
  const material = new Material().set('value', Buffer.from('sk-secret'));
  const issued = { id: 'a', version: 1, expiresInSeconds: 10, material };
  const lease = new HeldLease('default/key', issued, { monotonicMs: clock.monotonicMs(), wallMs: clock.nowMs() });
  return { clock, lease, bytes: material.bytes('value')! };
}
const ZEROES = Buffer.alloc('sk-secret'.length);

test('the bytes are overwritten when the lease is retired and nobody uses it any more', () => {
  const { lease, bytes } = held();
  lease.retain();
  lease.retain();
  lease.retire();
  lease.release();
  expect(bytes.toString()).toBe('sk-secret');
  lease.release();
  expect(bytes).toEqual(ZEROES);
  expect(lease.material.fieldNames()).toEqual([]);
  expect(() => lease.release()).toThrow('more often');
});

test('a lease that is released but not retired keeps its bytes', () => {
  const { lease, bytes } = held();
  lease.retain();
  lease.release();
  expect(bytes.toString()).toBe('sk-secret');
  lease.retire();
  expect(bytes).toEqual(ZEROES);
});

test('what was computed of the material is computed once and destroyed with it', () => {
  const { lease } = held();
  const key = {};
  let destroyed = 0;
  const make = () => ({ destroy: () => (destroyed += 1) });
  expect(lease.memo(key, make)).toBe(lease.memo(key, make));
  expect(lease.memo({}, make)).not.toBe(lease.memo(key, make));
  lease.retire();
  expect(destroyed).toBe(2);
  expect(lease.memo(key, make)).not.toBe(lease.memo(key, make));
});

test('a lease ends at its time by the clock that only goes forward, and is not lengthened by one that is set back', () => {
  const { clock, lease } = held();
  clock.advance(9.999);
  clock.wallMs -= 3_600_000;
  expect(lease.inForce(clock)).toBe(true);
  clock.advance(0.001);
  expect(lease.inForce(clock)).toBe(false);
});

test('a lease ends while the machine sleeps and only the wall clock goes on', () => {
  const { clock, lease } = held();
  clock.wallMs += 10_000;
  expect(lease.inForce(clock)).toBe(false);
});
