import { expect, test } from 'vitest';
import { KeyedQueue } from './keyedQueue.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('a key is never worked on twice at a time, and once more if it was asked for meanwhile', async () => {
  let running = 0;
  let most = 0;
  let count = 0;
  const queue = new KeyedQueue({
    concurrency: 4,
    log,
    what: 'test',
    work: async () => {
      running += 1;
      most = Math.max(most, running);
      count += 1;
      await sleep(20);
      running -= 1;
    },
  });
  for (let i = 0; i < 10; i += 1) queue.add('a');
  await sleep(100);
  expect([most, count, queue.depth]).toEqual([1, 2, 0]);
});

test('no more keys than allowed are worked on at once', async () => {
  let running = 0;
  let most = 0;
  const queue = new KeyedQueue({
    concurrency: 3,
    log,
    what: 'test',
    work: async () => {
      running += 1;
      most = Math.max(most, running);
      await sleep(5);
      running -= 1;
    },
  });
  for (let i = 0; i < 30; i += 1) queue.add(String(i));
  await sleep(200);
  expect([most, queue.depth]).toEqual([3, 0]);
});

test('what failed is tried again after a pause that new requests do not shorten, or at once when flushed', async () => {
  const tries: string[] = [];
  let broken = true;
  const queue = new KeyedQueue({
    concurrency: 1,
    log,
    what: 'test',
    work: async (key) => {
      tries.push(key);
      if (key === 'a' && broken) throw Object.assign(new Error('no'), { retryAfterSeconds: 60 });
    },
  });
  queue.add('a');
  queue.add('b');
  await sleep(5);
  for (let i = 0; i < 100; i += 1) queue.add('a');
  expect(tries.filter((key) => key === 'a').length).toBeLessThanOrEqual(2);
  expect(tries).toContain('b');
  broken = false;
  queue.flush();
  await sleep(5);
  expect(queue.depth).toBe(0);
  queue.close();
});

test('a key that is scheduled for later is worked on at once when something is new', async () => {
  const tries: string[] = [];
  const queue = new KeyedQueue({ concurrency: 1, log, what: 'test', work: async (key) => void tries.push(key) });
  queue.addAfter('a', 10_000);
  queue.add('a');
  await sleep(5);
  expect(tries).toEqual(['a']);
  expect(queue.depth).toBe(0);
});
