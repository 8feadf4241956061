import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { imageArchive } from './imageArchive.ts';
import { RootFilesystem } from './rootFilesystem.ts';
import { tar } from './tar.ts';

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-images-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

test('tar reads our archives: kinds, modes, owners and long paths', () => {
  const long = `${'d'.repeat(90)}/${'e'.repeat(40)}/${'f'.repeat(60)}`;
  const file = join(dir, 'a.tar');
  writeFileSync(
    file,
    tar([
      { path: long, mode: 0o640, uid: 65_532, gid: 1, content: { file: Buffer.from('text') } },
      { path: 'a', mode: 0o1777, content: 'dir' },
      { path: 'b', mode: 0o777, content: { link: 'a' } },
    ]),
  );
  const listed = execFileSync('tar', ['--numeric-owner', '-tvf', file], {
    encoding: 'utf8',
    env: { ...process.env, TZ: 'UTC' },
  });
  expect(
    listed
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/ +/g, ' ')),
  ).toEqual([
    'drwxrwxrwt 0/0 0 1970-01-01 00:00 a/',
    'lrwxrwxrwx 0/0 0 1970-01-01 00:00 b -> a',
    `-rw-r----- 65532/1 4 1970-01-01 00:00 ${long}`,
  ]);
  expect(() => tar([{ path: 'x'.repeat(101), mode: 0o644, content: { file: Buffer.alloc(0) } }])).toThrow(RangeError);
});

test('an image made twice has the same digest, whatever the order of its files', () => {
  const image = (paths: string[]) => {
    const files = new RootFilesystem();
    for (const path of paths) files.file(path, path);
    return imageArchive({ name: 'sidekey.test/x:1', layers: [files.layer] });
  };
  const [one, other] = [image(['/a/b', '/c']), image(['/c', '/a/b'])];
  expect(other.digest).toBe(one.digest);
  expect(other.archive.equals(one.archive)).toBe(true);
  expect(image(['/a/b']).digest).not.toBe(one.digest);
});

test('a program is there with the libraries that it needs, and runs in nothing else', () => {
  const file = join(dir, 'root.tar');
  writeFileSync(file, new RootFilesystem().program('/usr/bin/env').layer);
  const names = execFileSync('tar', ['-tf', file], { encoding: 'utf8' }).split('\n');
  expect(names).toContain('usr/bin/env');
  expect(names.some((name) => /libc\.so\.6$/.test(name))).toBe(true);
  expect(() => new RootFilesystem().program('/usr/bin/not-there')).toThrow('apt-get install');
});
