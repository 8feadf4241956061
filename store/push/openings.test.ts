import { expect, test } from 'vitest';
import { ManualClock } from '../testing/clock.ts';
import { Openings } from './openings.ts';

const refusalOf = (openings: Openings) => {
  try {
    openings.take();
    return undefined;
  } catch (error) {
    return error as { code: string; retryAfterSeconds: number };
  }
};

test('a crowd is sent away for as long as it takes to serve it, spread over that time', () => {
  const clock = new ManualClock();
  const openings = new Openings({ clock, perSecond: 100 });
  const answers = Array.from({ length: 2_100 }, () => refusalOf(openings));
  expect(answers.slice(0, 100).every((answer) => answer === undefined)).toBe(true);
  const refusals = answers.slice(100).map((answer) => answer!);
  expect(new Set(refusals.map(({ code }) => code))).toEqual(new Set(['Overloaded']));
  const seconds = refusals.map(({ retryAfterSeconds }) => retryAfterSeconds);
  expect(Math.min(...seconds)).toBe(1);
  expect(Math.max(...seconds)).toBeGreaterThan(15);
  expect(Math.max(...seconds)).toBeLessThanOrEqual(20);
  clock.advance(1);
  expect(refusalOf(openings)).toBeUndefined();
});

test('once the crowd is gone the next one that is too early waits a second', () => {
  const clock = new ManualClock();
  const openings = new Openings({ clock, perSecond: 10 });
  for (let i = 0; i < 1_000; i += 1) refusalOf(openings);
  clock.advance(10);
  const answers = Array.from({ length: 11 }, () => refusalOf(openings));
  expect(answers.at(-1)).toMatchObject({ retryAfterSeconds: 1 });
});

test('nobody is sent away for longer than half a minute', () => {
  const openings = new Openings({ clock: new ManualClock(), perSecond: 1 });
  for (let i = 0; i < 1_000; i += 1) expect(refusalOf(openings)?.retryAfterSeconds ?? 0).toBeLessThanOrEqual(30);
});
