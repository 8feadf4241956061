import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stateFiles } from '../../lib/stateDir.ts';
import { ensureKekFile, readKekFile } from './kekFile.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-kek-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('makes a key for a new state directory once, for its owner alone', () => {
  const files = stateFiles(join(dir, 'state'));
  ensureKekFile(files);
  expect(statSync(files.dir).mode & 0o777).toBe(0o700);
  expect(statSync(files.kek).mode & 0o777).toBe(0o600);
  const text = readFileSync(files.kek, 'utf8');
  expect(Buffer.from(text, 'base64').length).toBe(32);
  ensureKekFile(files);
  expect(readFileSync(files.kek, 'utf8')).toBe(text);
  expect(readKekFile(files.kek).map(({ id }) => id)).toEqual([expect.stringMatching(/^[0-9a-f]{16}$/)]);
});

test('makes no new key where a database waits for the old one', () => {
  const files = stateFiles(dir);
  writeFileSync(files.database, '');
  expect(() => ensureKekFile(files)).toThrow(expect.objectContaining({ code: 'KekMissing' }));
});

test.each([0o640, 0o604, 0o644, 0o660, 0o610])(
  'a key file with mode %o is refused with the command that closes it',
  (mode) => {
    const files = stateFiles(dir);
    ensureKekFile(files);
    chmodSync(files.kek, mode);
    expect(() => readKekFile(files.kek)).toThrow(
      expect.objectContaining({ code: 'KekExposed', message: expect.stringContaining(`chmod 600 ${files.kek}`) }),
    );
  },
);

test.each(['', 'short', `${'A'.repeat(42)}==`, 'A'.repeat(5000), `${'A'.repeat(43)}=\n\n`, `${'*'.repeat(43)}=`])(
  'a key file that holds no 32 bytes in base64 is refused: %j',
  (text) => {
    const files = stateFiles(dir);
    writeFileSync(files.kek, text, { mode: 0o600 });
    expect(() => readKekFile(files.kek)).toThrow(expect.objectContaining({ code: 'KekMalformed' }));
  },
);

test('a key file that is gone is missed', () => {
  const files = stateFiles(dir);
  ensureKekFile(files);
  unlinkSync(files.kek);
  expect(() => readKekFile(files.kek)).toThrow(expect.objectContaining({ code: 'KekMissing' }));
});
