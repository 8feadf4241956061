import { expect, test } from 'vitest';
import { filterOf, timeOf } from './auditFilter.ts';

const NOW = new Date('2026-03-10T12:00:00.000Z');

test('times are taken as people write them', () => {
  expect(timeOf('2026-01-31T10:00:00+02:00', NOW)).toBe('2026-01-31T08:00:00.000Z');
  expect(timeOf('2026-01-31', NOW)).toBe('2026-01-31T00:00:00.000Z');
  expect(timeOf('15m', NOW)).toBe('2026-03-10T11:45:00.000Z');
  expect(timeOf('7d', NOW)).toBe('2026-03-03T12:00:00.000Z');
  const today = new Date(NOW);
  today.setHours(10, 5, 0, 0);
  expect(timeOf('10:05', NOW)).toBe(today.toISOString());
});

test.each(['', 'yesterday', '25:00', '10:60', '2026-13-01', '99', '1w'])('%j is no time, and that is said', (text) => {
  expect(() => timeOf(text, NOW)).toThrow(/is no time/);
});

test('what cannot be so is refused', () => {
  expect(() => filterOf({ since: '1h', until: '2h' }, NOW)).toThrow(/later than/);
  expect(() => filterOf({ status: 'teapot' }, NOW)).toThrow(/no status/);
  expect(filterOf({ request: 'r-1', status: '4xx', since: '1h' }, NOW)).toEqual({
    requestId: 'r-1',
    status: '4xx',
    since: '2026-03-10T11:00:00.000Z',
  });
});
