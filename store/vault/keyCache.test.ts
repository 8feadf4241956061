import { expect, test } from 'vitest';
import { ManualClock } from '../testing/clock.ts';
import { KeyCache } from './keyCache.ts';

const key = (byte: number) => Buffer.alloc(32, byte);

test('keeps a copy for its time, and overwrites it then', () => {
  const clock = new ManualClock();
  const cache = new KeyCache({ clock, seconds: 10, limit: 4 });
  const given = key(1);
  cache.put('a', given);
  given.fill(9);
  const held = cache.get('a')!;
  expect(held).toEqual(key(1));
  clock.advance(9.9);
  expect(cache.get('a')).toBe(held);
  clock.advance(0.1);
  expect(cache.get('a')).toBeUndefined();
  expect(held).toEqual(key(0));
});

test('being used does not make a key stay longer', () => {
  const clock = new ManualClock();
  const cache = new KeyCache({ clock, seconds: 10, limit: 4 });
  cache.put('a', key(1));
  for (let second = 0; second < 10; second += 1) {
    expect(cache.get('a')).toBeDefined();
    clock.advance(1);
  }
  expect(cache.get('a')).toBeUndefined();
});

test('holds no more than its limit, and overwrites the one that it lets go', () => {
  const cache = new KeyCache({ clock: new ManualClock(), seconds: 10, limit: 2 });
  cache.put('a', key(1));
  const first = cache.get('a')!;
  cache.put('b', key(2));
  cache.put('c', key(3));
  expect([cache.size, cache.get('a'), cache.get('c')]).toEqual([2, undefined, key(3)]);
  expect(first).toEqual(key(0));
});

test('fetches once for all who ask meanwhile, overwrites what it was given, and asks again after a failure', async () => {
  const cache = new KeyCache({ clock: new ManualClock(), seconds: 10, limit: 2 });
  const fetched: Buffer[] = [];
  const fetch = async () => {
    fetched.push(key(fetched.length + 1));
    return fetched.at(-1)!;
  };
  await Promise.all([cache.fill('a', fetch), cache.fill('a', fetch), cache.fill('a', fetch)]);
  expect([cache.get('a'), fetched]).toEqual([key(1), [key(0)]]);
  await expect(cache.fill('b', () => Promise.reject(new Error('away')))).rejects.toThrow('away');
  await cache.fill('b', fetch);
  expect(cache.get('b')).toEqual(key(2));
});
