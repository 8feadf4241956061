import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { missingTests, testLinks, testRows } from './testLinks.ts';

const PAGE = new URL('../../docs/security-model.md', import.meta.url);
const text = readFileSync(PAGE, 'utf8');
const links = testLinks(testRows(text));

test('each test that the security model links to exists by that name', () => {
  expect(links.length).toBeGreaterThan(80);
  expect(missingTests(links, PAGE)).toEqual([]);
});

test('each promise of the security model has a test', () => {
  const rows = text.split('\n').filter((line) => /^\| (?!promise|fault|---)/.test(line));
  expect(rows.length).toBeGreaterThan(30);
  expect(rows.filter((row) => testLinks([row]).length === 0)).toEqual([]);
});
