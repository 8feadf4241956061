import { spawn } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RunFile } from '../../lib/stateDir.ts';
import { bearerYaml } from './objects.ts';
import { cleanEnv, ended, sidekey, startSidekey, TestFolder, Up } from './sidekey.ts';

const ROOT = new URL('../../', import.meta.url).pathname;

let folder: TestFolder;
let up: Up | undefined;
const state = (name: string) => join(folder.path, '.sidekey', name);

beforeEach(() => {
  folder = new TestFolder();
  up = undefined;
});
afterEach(async () => {
  await up?.stop();
  folder.remove();
});

test('the first start makes a state directory for the owner alone, and everything in it too', async () => {
  up = await Up.start(folder.path);
  expect(statSync(state('')).mode & 0o777).toBe(0o700);
  for (const name of ['kek', 'run.json', 'store.db', 'status.json', 'port'])
    expect(statSync(state(name)).mode & 0o077, name).toBe(0);
  for (const log of readdirSync(state('logs'))) expect(statSync(state(`logs/${log}`)).mode & 0o077, log).toBe(0);
  const run: RunFile = JSON.parse(readFileSync(state('run.json'), 'utf8'));
  expect(run).toMatchObject({ pid: up.child.pid, storeUrl: expect.stringMatching(/^https:\/\/127\.0\.0\.1:/) });
});

test('a second up on the same folder says who runs it, and the first goes on', async () => {
  up = await Up.start(folder.path);
  const second = await sidekey(['up', folder.path]);
  expect(second).toMatchObject({ code: 1, stderr: expect.stringContaining(`with pid ${up.child.pid}`) });
  expect(await sidekey(['session', 'list', '--dir', folder.path])).toMatchObject({ code: 0 });
  expect(existsSync(state('run.json'))).toBe(true);
});

test('where there is no shell to start a part by, that is said', async () => {
  // As in the product's image, which is for the parts themselves.
  const noShell = 'mount --bind /dev/null /bin/sh && exec "$0" cli/main.ts up "$1"';
  const args = ['--mount', 'bash', '-c', noShell, process.execPath, folder.path];
  const { code, stderr } = await ended(spawn('unshare', args, { cwd: ROOT, env: cleanEnv() }));
  expect(stderr).toContain('the store did not start: spawn /bin/sh EACCES');
  expect(code).toBe(1);
});

test.for(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s stops it cleanly, with nothing left running', async (signal) => {
  up = await Up.start(folder.path);
  const { pid } = JSON.parse(readFileSync(state('run.json'), 'utf8')) as RunFile;
  expect(await up.stop(signal)).toBe(0);
  expect(existsSync(state('run.json'))).toBe(false);
  expect(existsSync(state('admin.sock'))).toBe(false);
  expect(childrenOf(pid)).toEqual([]);
  expect(up.events.at(-1)).toEqual({ event: 'stopped' });
});

test('a crashed store comes back on the same port, and the operator with it', async () => {
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  up = await Up.start(folder.path);
  const before = JSON.parse(readFileSync(state('run.json'), 'utf8')) as RunFile;
  process.kill(childOf(up.child.pid!, 'store/main'), 'SIGKILL');
  await up.until(({ event, part }) => event === 'partRestarted' && part === 'store');
  const result = await sidekey(['credential', 'set', '--dir', folder.path, 'api-key'], { input: 'the value' });
  expect(result).toMatchObject({ code: 0 });
  await up.ready(2);
  expect(JSON.parse(readFileSync(state('run.json'), 'utf8'))).toEqual(before);
});

test('a crashed operator comes back and goes on', async () => {
  up = await Up.start(folder.path);
  process.kill(childOf(up.child.pid!, 'operator/main'), 'SIGKILL');
  await up.until(({ event, part }) => event === 'partRestarted' && part === 'operator');
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  await up.until(({ status }) => status?.objects.length === 2);
});

test('the store has its port again at the next start, and another if somebody took it', async () => {
  up = await Up.start(folder.path);
  const first = JSON.parse(readFileSync(state('run.json'), 'utf8')) as RunFile;
  await up.stop();
  const stopped = new Date().toISOString();
  up = await Up.start(folder.path);
  expect(up.events.find(({ status }) => status)!.status!.reconciledAt >= stopped).toBe(true);
  expect(JSON.parse(readFileSync(state('run.json'), 'utf8')).storeUrl).toBe(first.storeUrl);
  const other = new TestFolder();
  const taken = new URL(first.storeUrl).port;
  expect(await sidekey(['up', other.path, '--port', taken])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(new RegExp(`port ${taken} is in use by .*pid`)),
  });
  other.remove();
});

test('a lost key is told and never replaced', async () => {
  up = await Up.start(folder.path);
  await up.stop();
  unlinkSync(state('kek'));
  const result = await sidekey(['up', folder.path]);
  expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining(`${state('kek')} is missing`) });
  expect(existsSync(state('kek'))).toBe(false);
});

test('a key that others can read is refused with the command that mends it', async () => {
  up = await Up.start(folder.path);
  await up.stop();
  chmodSync(state('kek'), 0o644);
  expect(await sidekey(['up', folder.path])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`chmod 600 ${state('kek')}`),
  });
});

test('people see tables, what is wrong and what to do, and changes as they come', async () => {
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  const child = startSidekey(['up', folder.path]);
  const all = ended(child);
  let shown = '';
  child.stdout!.on('data', (text) => {
    shown += text;
  });
  await expect.poll(() => shown, { timeout: 10_000 }).toContain('0 of 2 ready');
  expect(shown).toMatch(/CREDENTIAL +READY +REASON/);
  expect(shown).toMatch(
    /✗ Credential default\/api-key \(api\.yaml\): MaterialMissing\n .*sidekey credential set api-key/,
  );
  await sidekey(['credential', 'set', '--dir', folder.path, 'api-key'], { input: 'the value' });
  await expect.poll(() => shown, { timeout: 10_000 }).toContain('2 of 2 ready');
  expect(shown).toMatch(/✓ Credential default\/api-key changed: Ready, version 1/);
  folder.write('broken.yaml', 'kind: Credential\nspec: {');
  await expect.poll(() => shown, { timeout: 10_000 }).toContain('✗ broken.yaml');
  child.kill('SIGINT');
  const { code, stdout, stderr } = await all;
  expect(code).toBe(0);
  expect(stderr).toContain('stopping; press Ctrl-C again');
  expect(stdout).not.toContain('\x1b[');
});

test('a folder that is none is a usage error', async () => {
  expect(await sidekey(['up', join(folder.path, 'none')])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('sidekey init DIR'),
  });
});

function childrenOf(parent: number): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        const ppid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
        return ppid === parent ? [{ pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'utf8') }] : [];
      } catch {
        return []; // Gone meanwhile.
      }
    });
}

function childOf(parent: number, main: string): number {
  const child = childrenOf(parent).find(({ command }) => command.includes(main));
  if (child === undefined) throw new Error(`process ${parent} has no child ${main}`);
  return child.pid;
}
