import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeBundleFile } from './bundleFile.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-bundle-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('the bundle holds both, everybody may read it, and it replaces the one before', () => {
  const file = join(dir, 'ca.pem');
  writeFileSync(file, 'old', { mode: 0o600 });
  writeBundleFile(file, 'ROOTS', 'OURS');
  expect(readFileSync(file, 'utf8')).toBe('OURS\nROOTS');
  expect(statSync(file).mode & 0o777).toBe(0o644);
  expect(readdirSync(dir)).toEqual(['ca.pem']);
});

test('a link in the place of the file that is written first leads nowhere', () => {
  const other = join(dir, 'other');
  writeFileSync(other, 'kept', { mode: 0o600 });
  symlinkSync(other, join(dir, `ca.pem.${process.pid}`));
  writeBundleFile(join(dir, 'ca.pem'), 'ROOTS', 'OURS');
  expect(readFileSync(other, 'utf8')).toBe('kept');
  expect(statSync(other).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir)).toEqual(['ca.pem', 'other']);
});

test('a bundle that cannot be written leaves nothing behind', () => {
  expect(() => writeBundleFile(join(dir, 'missing', 'ca.pem'), 'ROOTS', 'OURS')).toThrow('ENOENT');
  expect(readdirSync(dir)).toEqual([]);
});
