import { cpSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { TransitDouble } from '../doubles/transit.ts';
import { bearerYaml } from './objects.ts';
import { sidekey, TestFolder, Up } from './sidekey.ts';

const SECRET = 'sk-value-of-the-key';
const PASSPHRASE = 'correct horse battery staple';
let folder: TestFolder;
let other: TestFolder;
let up: Up | undefined;
beforeEach(() => {
  [folder, other] = [new TestFolder(), new TestFolder()];
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  up = undefined;
});
afterEach(async () => {
  await up?.stop();
  for (const one of [folder, other]) one.remove();
});

const here = (args: string[], input = '') => sidekey(args, { cwd: folder.path, input });
const set = (value = SECRET) => here(['credential', 'set', 'api-key', '--dir', '.'], value);
const backUp = (...more: string[]) => here(['backup', 'backup', ...more, '-o', 'json'], `${PASSPHRASE}\n`);
/** Into the other folder, which has nothing yet. */
const restore = (args: string[], input = PASSPHRASE) =>
  sidekey(['restore', join(folder.path, 'backup'), '--dir', other.path, ...args], { input });
const versions = async (one: TestFolder) =>
  (await sidekey(['credential', 'list', '--dir', one.path], { cwd: one.path })).stdout;

test('a backup is made while it runs, holds nothing in the clear, and is restored elsewhere by its passphrase', async () => {
  await set();
  up = await Up.start(folder.path);
  const made = await backUp();
  expect(JSON.parse(made.stdout)).toMatchObject({ file: join(folder.path, 'backup'), under: 'passphrase' });
  expect(statSync(join(folder.path, 'backup')).mode & 0o077).toBe(0);
  const bytes = readFileSync(join(folder.path, 'backup'));
  for (const text of [SECRET, PASSPHRASE, 'api-key']) expect(bytes.includes(text)).toBe(false);
  const restored = await restore([]);
  expect(restored).toMatchObject({ code: 0, stdout: expect.stringMatching(/epoch 1, every session[\s\S]*1 values/) });
  expect(await versions(other)).toContain('api-key');
  const changed = await sidekey(['credential', 'set', 'api-key', '--dir', other.path], { input: 'newer' });
  expect(changed).toMatchObject({ code: 0, stdout: expect.stringMatching(/version 1,?000,?00\d/) });
});

test('a dry run says what is in a backup and makes nothing', async () => {
  await set();
  expect((await backUp()).code).toBe(0);
  const { code, stdout } = await restore(['--dry-run', '-o', 'json']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ under: 'passphrase', counts: { material: 1 } });
  expect(existsSync(join(other.path, '.sidekey'))).toBe(false);
});

test('a wrong passphrase, a damaged file, a cut one and another file are refused with 4, and nothing is made', async () => {
  await set();
  await backUp();
  const path = join(folder.path, 'backup');
  const whole = readFileSync(path);
  expect(await restore(['-o', 'json'], 'not the passphrase')).toMatchObject({
    code: 4,
    stderr: expect.stringContaining('"BackupWrongKey"'),
  });
  const damaged = Buffer.from(whole);
  damaged[damaged.length - 40]! ^= 1;
  for (const [bytes, code] of [
    [damaged, 'BackupDamaged'],
    [whole.subarray(0, -1), 'BackupDamaged'],
    [Buffer.from('something else\n'), 'BackupForeign'],
  ] as const) {
    writeFileSync(path, bytes);
    for (const args of [[], ['--dry-run']])
      expect(await restore([...args, '-o', 'json'])).toMatchObject({ code: 4, stderr: expect.stringContaining(code) });
  }
  expect(existsSync(join(other.path, '.sidekey/store.db'))).toBe(false);
});

test('a backup, or the URL of a database, that is not where it was said to be is told with what to do', async () => {
  const absent = await sidekey(['restore', join(folder.path, 'absent'), '--dir', other.path]);
  expect(absent).toMatchObject({
    code: 4,
    stderr: expect.stringContaining('name the file that `sidekey backup` wrote'),
  });
  const without = await restore(['--database-url-file', 'absent']);
  expect(without).toMatchObject({ code: 2, stderr: expect.stringContaining('holds postgres://… and nothing else') });
});

test('a store that is there, or that runs, is replaced only when it is stopped and with --force', async () => {
  await set();
  await backUp();
  await set('a newer value');
  const again = ['restore', 'backup'];
  expect(await here(again, PASSPHRASE)).toMatchObject({ code: 4, stderr: expect.stringContaining('--force') });
  up = await Up.start(folder.path);
  expect((await here([...again, '--force'], PASSPHRASE)).code).toBe(4);
  await up.stop();
  const forced = await here([...again, '--force'], PASSPHRASE);
  expect(forced).toMatchObject({ code: 0, stdout: expect.stringContaining('store.db.before-restore') });
  expect(await here(['audit', 'verify'])).toMatchObject({ code: 0 });
});

test('a backup under the KEK needs the KEK, and no passphrase', async () => {
  await set();
  expect(JSON.parse((await backUp('--under', 'kek')).stdout)).toMatchObject({ under: 'kek' });
  expect(await restore([], '')).toMatchObject({
    code: 4,
    stderr: expect.stringContaining('The backup is under the KEK'),
  });
  expect(await here(['restore', 'backup', '--force'])).toMatchObject({ code: 0 });
  expect(await versions(folder)).toContain('api-key');
});

test('where keys were rotated to a transit engine, backups under it and by passphrase are restored there', {
  timeout: 60_000,
}, async () => {
  const server = await new TransitDouble().start();
  onTestFinished(() => server.stop());
  server.createKey('sidekey');
  await set();
  const place = `transit:${server.address}/transit/sidekey`;
  expect(
    await here(['kek', 'rotate', '--to', place, '--token-file', folder.write('token', server.token)]),
  ).toMatchObject({
    code: 0,
  });
  for (const under of ['kek', 'passphrase']) {
    expect((await here(['backup', under, '--under', under], PASSPHRASE)).code).toBe(0);
    expect(await here(['restore', under, '--force'], PASSPHRASE)).toMatchObject({ code: 0 });
    expect(await here(['kek', 'status'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/transit.* wraps/) });
    expect(await here(['audit', 'verify'])).toMatchObject({ code: 0 });
  }
  // On another machine: what names the place is all it takes.
  for (const name of ['kek', 'kek.places.json'])
    cpSync(join(folder.path, '.sidekey', name), join(other.path, '.sidekey', name));
  const elsewhere = await sidekey(['restore', join(folder.path, 'kek'), '--dir', other.path]);
  expect(elsewhere).toMatchObject({ code: 0 });
  expect(await versions(other)).toContain('api-key');
});

test('a backup is not written over a file, nor under a passphrase that is guessed, and leaves nothing behind', async () => {
  await set();
  expect(await here(['backup', 'backup'], 'short')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('12 bytes'),
  });
  expect(existsSync(join(folder.path, 'backup'))).toBe(false);
  await backUp();
  expect(await backUp()).toMatchObject({ code: 2, stderr: expect.stringContaining('is there already') });
  expect((await here(['backup', 'nowhere/backup'], PASSPHRASE)).code).toBe(1);
  expect(existsSync(join(folder.path, 'backup.partial'))).toBe(false);
});

test('ca status shows the chain; ca rotate begins a new intermediate, --root a new root, while all goes on', async () => {
  expect(await here(['ca', 'status', '--dir', '.'])).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('nothing runs'),
  });
  up = await Up.start(folder.path);
  const status = await here(['ca', 'status']);
  expect(status.stdout).toMatch(/^CA +ID +STATE +AGE +ROTATES +EXPIRES +CERTIFICATES\nroot .*\nintermediate /);
  // Certificates are backdated; what counts is when they were made.
  expect(status.stdout).toMatch(/^root +[0-9A-F]+ +active +\d+s /m);
  const before = JSON.parse((await here(['ca', 'status', '-o', 'json'])).stdout);
  const after = JSON.parse((await here(['ca', 'rotate', '-o', 'json'])).stdout);
  expect(after.intermediates.length).toBe(before.intermediates.length + 1);
  expect(after.roots.map(({ id }: { id: string }) => id)).toEqual(before.roots.map(({ id }: { id: string }) => id));
  const root = await here(['ca', 'rotate', '--root']);
  expect(root).toMatchObject({ code: 0, stdout: expect.stringMatching(/root [0-9A-F]+ is published since/) });
  expect((await set()).code).toBe(0);
  await up.ready(2);
});
