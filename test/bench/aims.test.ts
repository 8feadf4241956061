import { describe, expect, test } from 'vitest';
import { type Aim, judge } from './aims.ts';
import { report } from './report.ts';
import { type Cell, Results, summarise } from './results.ts';
import { selectRows } from './rows.ts';

function cell(contender: string, cpuMs: number, peakMB = 20): Cell {
  return {
    path: 'baseURL',
    row: 'keepAlive',
    contender,
    metrics: { cpuMs: summarise([cpuMs]), peakMB: summarise([peakMB]) },
    failures: [],
  };
}
const aims: Aim[] = [
  { rows: ['keepAlive'], metric: 'cpuMs', against: 'nginx', atMost: 1.5 },
  { rows: ['keepAlive'], metric: 'peakMB', atMost: 100 },
];

describe('aims', () => {
  test('compare with the other contender on the same row', () => {
    const verdicts = judge([cell('nginx', 20), cell('Sidekey', 29)], aims);
    expect(verdicts.map(({ value, ok }) => [value, ok])).toEqual([
      [1.45, true],
      [20, true],
    ]);
  });

  test('that are missed are short', () => {
    const verdicts = judge([cell('nginx', 20), cell('Sidekey', 31, 101)], aims);
    expect(verdicts.map(({ ok }) => ok)).toEqual([false, false]);
  });

  test('that cannot be compared are not met', () => {
    expect(judge([cell('Sidekey', 31)], aims)[0]).toMatchObject({ value: undefined, ok: false });
    expect(judge([cell('nginx', 0), cell('Sidekey', 31)], aims)[0]).toMatchObject({ value: undefined, ok: false });
  });
});

describe('results', () => {
  test('are the middle of the rounds with both ends', () => {
    expect(summarise([5, 1, 9])).toEqual({ median: 5, min: 1, max: 9, rounds: 3 });
    expect(summarise([1, 2]).median).toBe(1.5);
    expect(() => summarise([])).toThrow(RangeError);
  });

  test('keep a failed row, once for the same reason', () => {
    const results = new Results();
    results.fail('baseURL', 'upload', 'Sidekey', 'closed');
    results.fail('baseURL', 'upload', 'Sidekey', 'closed');
    expect(results.cells).toEqual([
      { path: 'baseURL', row: 'upload', contender: 'Sidekey', metrics: {}, failures: ['closed'] },
    ]);
  });

  test('show rows that failed, were missed or had no tool', () => {
    const cells = [cell('nginx', 20), { ...cell('Sidekey', 31), failures: ['1 of 9 requests failed: closed'] }];
    const text = report({
      contenders: ['nginx', 'Envoy', 'Sidekey'],
      paths: ['baseURL'],
      rows: ['keepAlive', 'upload'],
      cells: [...cells, { ...cell('Sidekey', 0), row: 'upload', metrics: {}, failures: ['no answer in time'] }],
      verdicts: judge(cells, aims),
      cut: ['round 3'],
      absent: new Map([['Envoy', 'no pip']]),
    });
    expect(text).toContain('1.55 × nginx (≤ 1.5) SHORT');
    expect(text).toMatch(/CPU ms per 1,000\s+20\.0\s+absent\s+31\.0!/);
    expect(text).toMatch(/MB\/s\s+–\s+absent\s+failed/);
    expect(text).toContain('Sidekey, baseURL, upload: no answer in time');
    expect(text).toContain('Envoy is absent: no pip');
    expect(text).toContain('round 3');
    expect(text).toContain('1 aims met, 1 short');
  });
});

describe('--rows', () => {
  test('takes rows and paths, and everything by default', () => {
    expect(selectRows('upload,intercept')).toEqual({ rows: ['upload'], paths: ['intercept'] });
    expect(selectRows('').paths).toEqual(['baseURL', 'intercept']);
  });

  test('refuses what it does not know', () => {
    expect(() => selectRows('uplaod')).toThrow(/no row uplaod; rows are start/);
  });
});
