import { describe, expect, test } from 'vitest';
import { LimitCounter } from './limits.ts';

const SECOND = 1000;

function taken(counter: LimitCounter, times: number, nowMs: number): number {
  let count = 0;
  for (let at = 0; at < times; at += 1) if (counter.take(nowMs) === undefined) count += 1;
  return count;
}

test('without limits nothing is reached', () => {
  expect(taken(new LimitCounter([]), 10_000, 0)).toBe(10_000);
});

test('as many requests as the limit says, and the next is told when to come back', () => {
  const limit = { requests: 3, windowSeconds: 60 };
  const counter = new LimitCounter([limit]);
  expect(taken(counter, 3, 0)).toBe(3);
  expect(counter.take(0)).toEqual({ limit, retryAfterSeconds: 60 });
  expect(counter.take(59_001)).toEqual({ limit, retryAfterSeconds: 1 });
  expect(counter.take(60_000)).toBeUndefined();
});

test('whoever waits for the stated seconds is let in', () => {
  const counter = new LimitCounter([{ requests: 1, windowSeconds: 10 }]);
  counter.take(1_234.5);
  const wait = counter.take(4_000.25)!.retryAfterSeconds;
  expect(counter.take(4_000.25 + wait * SECOND)).toBeUndefined();
});

test('the window slides: the border between two minutes does not double the limit', () => {
  const counter = new LimitCounter([{ requests: 10, windowSeconds: 60 }]);
  expect(taken(counter, 10, 59 * SECOND)).toBe(10);
  expect(taken(counter, 10, 61 * SECOND)).toBe(0);
  expect(taken(counter, 10, 119 * SECOND)).toBe(10);
});

test('requests leave the window one by one as they came', () => {
  const counter = new LimitCounter([{ requests: 2, windowSeconds: 10 }]);
  counter.take(0);
  counter.take(5 * SECOND);
  expect(taken(counter, 5, 10 * SECOND)).toBe(1);
  expect(taken(counter, 5, 14 * SECOND)).toBe(0);
  expect(taken(counter, 5, 15 * SECOND)).toBe(1);
});

test('what is refused does not count', () => {
  const counter = new LimitCounter([{ requests: 1, windowSeconds: 10 }]);
  counter.take(0);
  expect(taken(counter, 1000, 9 * SECOND)).toBe(0);
  expect(counter.take(10 * SECOND)).toBeUndefined();
});

test('of several limits each holds, none counts what another refuses, and the longest wait is told', () => {
  const short = { requests: 2, windowSeconds: 1 };
  const long = { requests: 3, windowSeconds: 100 };
  const counter = new LimitCounter([short, long]);
  expect(taken(counter, 5, 0)).toBe(2);
  expect(counter.used(0).map(({ count }) => count)).toEqual([2, 2]);
  expect(counter.take(0)?.limit).toEqual(short);
  expect(taken(counter, 5, 2 * SECOND)).toBe(1);
  expect(counter.take(2 * SECOND)).toEqual({ limit: long, retryAfterSeconds: 98 });
});

describe('a limit of many requests', () => {
  const limit = { requests: 1_000_000, windowSeconds: 60 };

  test('is exact within a burst', () => {
    expect(taken(new LimitCounter([limit]), 1_000_001, 5)).toBe(1_000_000);
  });

  test('is never exceeded in any window, and loses at most a thousandth of one to rounding', () => {
    const requests = 2_000;
    const counter = new LimitCounter([{ requests, windowSeconds: 60 }]);
    const times: number[] = [];
    for (let now = 0; now < 200 * SECOND; now += 7.3) if (counter.take(now) === undefined) times.push(now);
    for (let at = requests; at < times.length; at += 1)
      expect(times[at]! - times[at - requests]!).toBeGreaterThanOrEqual(60 * SECOND);
    expect(times.length).toBeGreaterThan(requests * 3 * 0.999);
  });

  test('counts what the window holds while it slides', () => {
    const counter = new LimitCounter([limit]);
    for (let now = 0; now < 600 * SECOND; now += 1) counter.take(now);
    const [used] = counter.used(600 * SECOND);
    expect(used!.count).toBeGreaterThanOrEqual(59_999);
    expect(used!.count).toBeLessThanOrEqual(60_000 * (1 + 1 / 1024));
  });
});

test('asking what would be reached counts nothing', () => {
  const counter = new LimitCounter([{ requests: 1, windowSeconds: 10 }]);
  expect(counter.reached(0)).toBeUndefined();
  expect(counter.used(0)[0]?.count).toBe(0);
  expect(counter.take(0)).toBeUndefined();
  expect(counter.reached(0)?.retryAfterSeconds).toBe(10);
});

test('an unchanged limit keeps its count, a changed one begins anew', () => {
  const kept = { requests: 1, windowSeconds: 10 };
  const before = new LimitCounter([kept, { requests: 5, windowSeconds: 60 }]);
  before.take(0);
  const after = new LimitCounter([{ requests: 6, windowSeconds: 60 }, { ...kept }], before);
  expect(after.used(1).map(({ count }) => count)).toEqual([0, 1]);
  expect(after.take(1)?.limit).toEqual(kept);
});
