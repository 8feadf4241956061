import { expect, test } from 'vitest';
import { Backoff } from './backoff.ts';

const COUNT = 2_000;

test('pauses are spread over all of a bound that doubles, up to its limit', () => {
  const attempts = [0, 1, 2, 3, 4].map(() => [] as number[]);
  for (let i = 0; i < COUNT; i += 1) {
    const backoff = new Backoff({ firstMs: 100, limitMs: 800 });
    for (const pauses of attempts) pauses.push(backoff.nextMs());
  }
  for (const [i, boundMs] of [100, 200, 400, 800, 800].entries()) {
    const pauses = attempts[i]!;
    expect(Math.max(...pauses)).toBeLessThanOrEqual(boundMs);
    // No tenth of the bound is left out, or has more than twice its share.
    const tenths = Array.from({ length: 10 }, (_, at) => pauses.filter((ms) => Math.floor((ms * 10) / boundMs) === at));
    for (const tenth of tenths) expect(tenth.length).toBeGreaterThan(COUNT / 20);
    for (const tenth of tenths) expect(tenth.length).toBeLessThan(COUNT / 5);
  }
});

test('after one that went well it begins anew', () => {
  const backoff = new Backoff({ firstMs: 10, limitMs: 100_000 });
  for (let i = 0; i < 10; i += 1) backoff.nextMs();
  backoff.reset();
  expect(backoff.nextMs()).toBeLessThanOrEqual(10);
});

test('what the store asks for comes on top, but not for ever', () => {
  const backoff = new Backoff({ firstMs: 10, limitMs: 10 });
  const pauseMs = backoff.nextMs(3);
  expect([pauseMs >= 3_000, pauseMs <= 3_010]).toEqual([true, true]);
  expect(backoff.nextMs(1e9)).toBeLessThanOrEqual(60_010);
});
