import { relative } from 'node:path';

/** As vitest's JSON reporter writes it, in part. */
export interface Report {
  testResults: FileResult[];
}

export interface FileResult {
  /** Absolute path. */
  name: string;
  status: 'passed' | 'failed';
  /** Why the file failed as a whole. */
  message: string;
  assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
}

export interface Verdict {
  /** One for each test that failed, with the begin of its messages; then what else is wrong. */
  lines: string[];
  totals: { passed: number; failed: number; skipped: number };
  isGood: boolean;
}

/** More failures than that are no chance, and nothing is run again. */
const CHANCE_LIMIT = 3;
const LINES_PER_MESSAGE = 12;

/** Absolute paths of the files that are worth a second run. */
export function worthAgain(files: readonly FileResult[]): string[] {
  const failed = files.filter(({ status }) => status === 'failed');
  const count = failed.reduce((sum, file) => sum + failuresOf(file).length, 0);
  return count <= CHANCE_LIMIT ? failed.map(({ name }) => name) : [];
}

/**
 * What came of a run, and of the second run of the files that failed in it. A test that fails beside others and passes alone counts as
 * passed, and is named for what it is: a fault to be looked into, of the test or of the product.
 */
export function verdictOf(first: readonly FileResult[], again: readonly FileResult[]): Verdict {
  const second = new Map(again.map((file) => [file.name, file]));
  const last = first.map((file) => second.get(file.name) ?? file);
  const lines = first.flatMap((file) => {
    const isUnsteady = second.get(file.name)?.status === 'passed';
    return failuresOf(file).map(
      (failure) => `${isUnsteady ? 'UNSTEADY, passed when run again:' : 'FAILED'} ${failure}`,
    );
  });
  for (const file of again) lines.push(...failuresOf(file).map((failure) => `FAILED AGAIN ${failure}`));
  const statuses = last.flatMap(({ assertionResults }) => assertionResults.map(({ status }) => status));
  const count = (wanted: string) => statuses.filter((status) => status === wanted).length;
  const [passed, failed] = [count('passed'), count('failed')];
  const skipped = statuses.length - passed - failed;
  if (skipped > 0) lines.push(`${skipped} tests were skipped, which CI does not accept`);
  const isGood = last.every(({ status }) => status === 'passed') && skipped === 0 && passed > 0;
  return { lines, totals: { passed, failed, skipped }, isGood };
}

function failuresOf({ assertionResults, message, name, status }: FileResult): string[] {
  if (status !== 'failed') return [];
  const path = relative('.', name);
  const failed = assertionResults.filter((result) => result.status === 'failed');
  if (failed.length === 0) return [`${path}\n${firstLines(message)}`];
  return failed.map(
    ({ failureMessages, fullName }) => `${path}: ${fullName}\n${failureMessages.map(firstLines).join('\n')}`,
  );
}

function firstLines(text = ''): string {
  const isOurs = (line: string) => !/^ +at .*node_modules/.test(line);
  const lines = text.split('\n').filter(isOurs).slice(0, LINES_PER_MESSAGE);
  return lines.map((line) => `    ${line}`).join('\n');
}
