import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const PAGE = new URL('../../docs/threat-model.md', import.meta.url);
const RULES = new URL('../conformance/rules/', import.meta.url);
const text = readFileSync(PAGE, 'utf8');
const rows = text.split('\n').filter((line) => line.startsWith('| ') && line.includes('.test.ts)'));
const links = rows.flatMap((row) =>
  [...row.matchAll(/\[([^\]]+)\]\(([^)]+\.test\.ts)\)/g)].map(([, name, file]) => ({ name: name!, file: file! })),
);

test('each test that the threat model links to exists by that name', () => {
  expect(links.length).toBeGreaterThan(40);
  const missing = links.filter(({ name, file }) => {
    const url = new URL(file, PAGE);
    return !existsSync(url) || !names(readFileSync(url, 'utf8')).includes(name);
  });
  expect(missing).toEqual([]);
});

test('each rule of the data path has a row with tests of its own file', () => {
  for (let rule = 1; rule <= 16; rule++) {
    const row = rows.find((line) => line.startsWith(`| ${rule}. `));
    expect([rule, row?.includes(`rules/${String(rule).padStart(2, '0')}-`)]).toEqual([rule, true]);
  }
});

test('no file of rules is left out', () => {
  const files = readdirSync(RULES).filter((name) => name.endsWith('.test.ts'));
  expect(files.filter((name) => !links.some(({ file }) => file.endsWith(`/rules/${name}`)))).toEqual([]);
});

/** The names of tests and groups in a source text, as written. */
function names(source: string): string[] {
  return [...source.matchAll(/\b(?:test|describe)(?:\.each\([\s\S]*?\))?\(\s*(['"`])((?:\\.|(?!\1)[^\\])+)\1/g)].map(
    ([, , name]) => name!.replace(/\\(.)/g, '$1'),
  );
}
