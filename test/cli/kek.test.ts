import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { TransitDouble } from '../doubles/transit.ts';
import { bearerYaml } from './objects.ts';
import { ended, sidekey, startSidekey, TestFolder, Up } from './sidekey.ts';

let folder: TestFolder;
let server: TransitDouble;
beforeEach(async () => {
  folder = new TestFolder();
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  server = await new TransitDouble().start();
  server.createKey('sidekey');
  folder.write('token', server.token);
});
afterEach(async () => {
  await server.stop();
  folder.remove();
});

const here = (...args: string[]) => sidekey(args, { cwd: folder.path });
const set = () => sidekey(['credential', 'set', 'api-key'], { cwd: folder.path, input: 'sk-value-of-the-key' });
const place = () => ['--to', `transit:${server.address}/transit/sidekey`, '--token-file', join(folder.path, 'token')];
interface Status {
  keys: { id: string; current: boolean; dataKeys: number; kind: string }[];
}
const status = async (): Promise<Status> => JSON.parse((await here('kek', 'status', '-o', 'json')).stdout);

test('kek rotate works while nothing runs and while it runs, and says what it did', async () => {
  await set();
  const before = await status();
  const stopped = await here('kek', 'rotate');
  expect(stopped).toMatchObject({ code: 0, stdout: expect.stringContaining('none under another') });
  const between = await status();
  const up = await Up.start(folder.path);
  const running = await here('kek', 'rotate', '-o', 'json');
  expect(running.code).toBe(0);
  expect(JSON.parse(running.stdout)).toMatchObject({ from: between.keys[0]!.id, dataKeys: 1 });
  const after = await status();
  await up.stop();
  const ids = [before, between, after].map(({ keys }) => keys.map(({ id }) => id));
  expect(new Set(ids.flat()).size).toBe(3);
  expect(ids.map(({ length }) => length)).toEqual([1, 1, 1]);
  expect((await here('kek', 'status')).stdout).toMatch(/^KEY +USE +AGE.*\n[0-9a-f]{16} +wraps +\d+s +1 +\d+ +.*kek$/m);
});

test('kek rotate --to transit and back; afterwards the key file alone, or the server alone, will do', async () => {
  await set();
  const there = await here('kek', 'rotate', ...place());
  expect(there).toMatchObject({ code: 0, stdout: expect.stringContaining('transit:transit/sidekey:v1') });
  expect((await status()).keys).toMatchObject([{ kind: 'transit', dataKeys: 1, current: true }]);
  const back = await here('kek', 'rotate', '--to', 'file', '-o', 'json');
  expect(back.code).toBe(0);
  await server.stop();
  expect((await status()).keys.filter(({ dataKeys }) => dataKeys > 0)).toMatchObject([{ kind: 'file', current: true }]);
  await server.start();
});

test.each([
  [['--to', 'nowhere'], 'is no place'],
  [['--to', 'transit:https://vault:8200/transit/sidekey'], 'needs --token-file'],
  [['--to', 'transit:vault'], 'is no place'],
  [['--token-file', 'x'], 'are of --to transit'],
])('kek rotate %j is a usage error', async (args, text) => {
  await set();
  expect(await here('kek', 'rotate', ...args)).toMatchObject({ code: 2, stderr: expect.stringContaining(text) });
});

test('kek rotate to a place that cannot be used says why and changes nothing', async () => {
  await set();
  const before = await status();
  server.setSealed(true);
  const result = await here('kek', 'rotate', ...place());
  expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining('is sealed') });
  expect(await status()).toEqual(before);
});

test('up waits for a sealed store and says so; kek status exits with 4 and says how to leave that', async () => {
  await set();
  expect((await here('kek', 'rotate', ...place())).code).toBe(0);
  await server.stop();
  const child = startSidekey(['up', folder.path, '-o', 'json']);
  const end = ended(child);
  await expect.poll(async () => (await here('kek', 'status')).code, { timeout: 15_000 }).toBe(4);
  const sealed = await here('kek', 'status');
  expect(sealed.stderr).toMatch(/sealed \(KekUnreachable\)[\s\S]*does not answer[\s\S]*looks again by itself/);
  await server.start();
  await expect.poll(async () => (await here('kek', 'status')).code, { timeout: 30_000 }).toBe(0);
  child.kill('SIGINT');
  expect((await end).stdout).toContain('"event":"storeSealed"');
});

test('up --kek secret:DIR keeps the key in a mounted Secret, also for the commands that come after; restore --kek brings a backup under another', async () => {
  const secretDir = join(folder.path, '..', `${basename(folder.path)}-kek`);
  mkdirSync(secretDir, { mode: 0o700 });
  onTestFinished(() => rmSync(secretDir, { recursive: true, force: true }));
  writeFileSync(join(secretDir, 'kek-1'), randomBytes(32), { mode: 0o400 });
  const up = await Up.start(folder.path, ['--kek', `secret:${secretDir}`]);
  expect((await set()).code).toBe(0);
  await up.stop();
  expect(readdirSync(join(folder.path, '.sidekey'))).not.toContain('kek');
  expect((await status()).keys).toMatchObject([{ kind: 'secret', dataKeys: 1, current: true }]);
  expect((await here('backup', '--under', 'kek', 'backup')).code).toBe(0);
  // Elsewhere nothing is known of the place.
  const other = new TestFolder();
  onTestFinished(() => other.remove());
  const restore = (...args: string[]) =>
    sidekey(['restore', '--dir', other.path, join(folder.path, 'backup'), ...args], { cwd: folder.path });
  expect(await restore()).toMatchObject({ code: 4, stderr: expect.stringContaining('put it back as') });
  expect(await restore('--kek', 'elsewhere')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('is no place'),
  });
  expect(await restore('--kek', `secret:${secretDir}`)).toMatchObject({ code: 0 });
  const restored = await sidekey(['kek', 'status', '--dir', other.path, '-o', 'json']);
  expect(JSON.parse(restored.stdout).keys).toMatchObject([{ kind: 'secret', dataKeys: 1, current: true }]);
}, 60_000);

test('a key file that is lost is told, not waited for', async () => {
  await set();
  unlinkSync(join(folder.path, '.sidekey/kek'));
  expect(await here('kek', 'status')).toMatchObject({ code: 1, stderr: expect.stringContaining('is missing') });
});

test('no part may dump core, and what a store has in memory is left out of dumps anyway', {
  skip: process.platform !== 'linux',
}, async () => {
  const up = await Up.start(folder.path);
  const children = childrenOf(up.child.pid!);
  const parts = children.map((pid) => ({
    name: /(store|operator)(?:\/main\.ts|\.mjs)/.exec(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))?.[1],
    limit: /^Max core file size +(\S+) +(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'latin1'))?.slice(1),
    filter: Number.parseInt(readFileSync(`/proc/${pid}/coredump_filter`, 'latin1'), 16),
  }));
  expect(parts.find(({ name }) => name === 'store')).toEqual({ name: 'store', limit: ['0', '0'], filter: 0 });
  expect(parts.find(({ name }) => name === 'operator')?.limit).toEqual(['0', '0']);
  await up.stop();
});

/** And theirs. */
function childrenOf(pid: number): number[] {
  const direct = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1').trim().split(' ').filter(Boolean).map(Number),
  );
  return direct.flatMap((child) => [child, ...childrenOf(child)]);
}

test('the key file stays closed to others over rotations, and one that is not is refused', async () => {
  await set();
  await here('kek', 'rotate');
  const path = join(folder.path, '.sidekey/kek');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  writeFileSync(path, readFileSync(path).fill(0x41, 60, 70));
  expect(await here('kek', 'status')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('put the right key file back'),
  });
});
