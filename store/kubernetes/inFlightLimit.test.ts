import { expect, test } from 'vitest';
import { InFlightLimit } from './inFlightLimit.ts';

test('so much runs at one time, the rest in turn, and what cannot wait is refused', async () => {
  const limit = new InFlightLimit(2, 2);
  const running: (() => void)[] = [];
  let most = 0;
  let now = 0;
  const work = () =>
    new Promise<void>((resolve) => {
      now += 1;
      most = Math.max(most, now);
      running.push(() => {
        now -= 1;
        resolve();
      });
    });
  const first = [limit.run(work), limit.run(work), limit.run(work), limit.run(work)];
  await expect(limit.run(work)).rejects.toMatchObject({ code: 'Overloaded' });
  while (running.length > 0) {
    running.shift()!();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(first);
  expect(most).toBe(2);
  // A failure gives its place back.
  await expect(limit.run(() => Promise.reject(new Error('x')))).rejects.toThrow('x');
  await expect(limit.run(async () => 'again')).resolves.toBe('again');
});
