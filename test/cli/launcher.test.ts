import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SIDEKEY, TestFolder } from './sidekey.ts';

test('in a clone without packages, bin/sidekey says how to install them', async () => {
  const clone = new TestFolder();
  mkdirSync(join(clone.path, 'bin'));
  const copy = join(clone.path, 'bin/sidekey');
  copyFileSync(SIDEKEY, copy);
  const { code, stderr } = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
    execFile(copy, ['--version'], (error, _, text) => resolve({ code: error?.code, stderr: text }));
  });
  clone.remove();
  expect(code).toBe(125);
  expect(stderr).toMatch(/the packages of .* are not installed\n {2}→ npm ci --prefix /);
});
