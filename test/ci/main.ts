/**
 * What CI says at its end, as what is kept of a log may be its end: `node test/ci/main.ts STATUS LOG`, with the exit status of `make test`
 * and what it printed.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { relative } from 'node:path';
import { type FileResult, type Report, verdictOf, worthAgain } from './verdict.ts';

const SUITES = [
  { report: '.cache/tests.json', config: [] },
  { report: '.cache/e2e.json', config: ['--config', 'test/cluster/e2e/vitest.config.ts'] },
];
const AGAIN = '.cache/again.json';

const [status, log] = process.argv.slice(2);

const suites = SUITES.map((suite) => ({ ...suite, files: filesOf(suite.report) }));
const missing = suites.filter(({ files }) => files.length === 0);
const all = suites.flatMap(({ files }) => files);
const doubtful = missing.length > 0 ? [] : worthAgain(all);
const again = suites.flatMap(({ config, files }) =>
  files.filter(({ name }) => doubtful.includes(name)).flatMap(({ name }) => runAgain(name, config)),
);

const { isGood, lines, totals } = verdictOf(all, again);
for (const line of lines) console.log(line);
for (const { report } of missing) console.log(`the tests of ${report} did not run`);
// No test's: vitest fails for it, and says of whom it is.
const unhandled = /Vitest caught \d+ unhandled errors?/.exec(readFileSync(log!, 'utf8'))?.[0];
if (unhandled !== undefined) console.log(`${unhandled}: see above`);
console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`);
const isExplained = Number(status) === 0 || again.length > 0;
process.exit(isGood && isExplained && missing.length === 0 && unhandled === undefined ? 0 : Number(status) || 1);

/** Of a run that has come to its report. */
function filesOf(report: string): FileResult[] {
  return existsSync(report) ? (JSON.parse(readFileSync(report, 'utf8')) as Report).testResults : [];
}

/** With the machine for itself. */
function runAgain(file: string, config: readonly string[]): FileResult[] {
  console.log(`once more, alone: ${relative('.', file)}`);
  rmSync(AGAIN, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${AGAIN}`];
  spawnSync('vitest', ['run', ...config, file, ...reporters], { stdio: 'inherit' });
  return filesOf(AGAIN);
}
