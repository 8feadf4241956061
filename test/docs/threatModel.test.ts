import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { missingTests, testLinks, testRows } from './testLinks.ts';

const PAGE = new URL('../../docs/threat-model.md', import.meta.url);
const RULES = new URL('../conformance/rules/', import.meta.url);
const text = readFileSync(PAGE, 'utf8');
const rows = testRows(text);
const links = testLinks(rows);

test('each test that the threat model links to exists by that name', () => {
  expect(links.length).toBeGreaterThan(40);
  expect(missingTests(links, PAGE)).toEqual([]);
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
