import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { type FileResult, verdictOf, worthAgain } from './verdict.ts';

/** By name: what became of it. */
function file(name: string, tests: Record<string, string>, message = ''): FileResult {
  const assertionResults = Object.entries(tests).map(([fullName, status]) => ({
    fullName,
    status,
    failureMessages: status === 'failed' ? ['Error: no\n    at ours.ts:1\n    at x/node_modules/y.js:1'] : [],
  }));
  const hasFailed = message !== '' || assertionResults.some(({ status }) => status === 'failed');
  return { name: resolve(name), status: hasFailed ? 'failed' : 'passed', message, assertionResults };
}
const good = file('a.test.ts', { one: 'passed', two: 'passed' });

test('a run without a failure is good and runs nothing again', () => {
  expect(worthAgain([good])).toEqual([]);
  const totals = { passed: 2, failed: 0, skipped: 0 };
  expect(verdictOf([good], [])).toEqual({ lines: [], totals, isGood: true });
});

test('a test that passes when it is run again is counted as passed, and named', () => {
  const failed = file('b.test.ts', { three: 'failed', four: 'passed' });
  expect(worthAgain([good, failed])).toEqual([failed.name]);
  const { isGood, lines, totals } = verdictOf([good, failed], [file('b.test.ts', { three: 'passed', four: 'passed' })]);
  expect(lines).toEqual(['UNSTEADY, passed when run again: b.test.ts: three\n    Error: no\n        at ours.ts:1']);
  expect([isGood, totals]).toEqual([true, { passed: 4, failed: 0, skipped: 0 }]);
});

test('a test that fails twice has failed, also if it is another one of the file', () => {
  const failed = file('b.test.ts', { three: 'failed', four: 'passed' });
  const { isGood, lines, totals } = verdictOf([good, failed], [file('b.test.ts', { three: 'passed', four: 'failed' })]);
  expect(lines.map((line) => line.split('\n')[0])).toEqual(['FAILED b.test.ts: three', 'FAILED AGAIN b.test.ts: four']);
  expect([isGood, totals]).toEqual([false, { passed: 3, failed: 1, skipped: 0 }]);
});

test('a file that fails as a whole is run again, and what it skipped is not counted then', () => {
  const failed = file('b.test.ts', { three: 'skipped' }, 'no database');
  expect(worthAgain([failed])).toEqual([failed.name]);
  expect(verdictOf([good, failed], [])).toMatchObject({
    isGood: false,
    lines: ['FAILED b.test.ts\n    no database', expect.stringContaining('1 tests were skipped')],
  });
  expect(verdictOf([good, failed], [file('b.test.ts', { three: 'passed' })])).toMatchObject({
    isGood: true,
    totals: { passed: 3, failed: 0, skipped: 0 },
  });
});

test('more than three failures are run again by nobody', () => {
  const failed = file('b.test.ts', { a: 'failed', b: 'failed', c: 'failed', d: 'failed' });
  expect(worthAgain([good, failed])).toEqual([]);
  expect(verdictOf([good, failed], []).isGood).toBe(false);
});

test.each(['pending', 'todo', 'skipped'])('a test that is %s is not accepted', (status) => {
  expect(verdictOf([good, file('b.test.ts', { three: status })], []).isGood).toBe(false);
});
