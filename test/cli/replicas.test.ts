import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { until } from '../../sidecar/link/testkit.ts';
import { PostgresServer } from '../postgres/server.ts';
import { bearerYaml } from './objects.ts';
import { ended, sidekey, startSidekey, TestFolder, Up } from './sidekey.ts';

let server: PostgresServer;
let url: string;
let first: TestFolder;
let second: TestFolder;
const ups: Up[] = [];
beforeAll(async () => {
  server = await PostgresServer.start();
}, 60_000);
afterAll(() => server?.remove());
beforeEach(async () => {
  url = await server.newDatabase();
  [first, second] = [new TestFolder(), new TestFolder()];
  for (const folder of [first, second]) folder.write('url', `${url}\n`);
  first.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
});
afterEach(async () => {
  for (const up of ups.splice(0)) await up.stop();
  for (const folder of [first, second]) folder.remove();
});

const at = (folder: TestFolder, ...args: string[]) =>
  sidekey([...args, '--dir', folder.path], { input: 'sk-value-of-the-key' });
const started = async (folder: TestFolder, ...args: string[]): Promise<Up> => {
  const up = await Up.serving(folder.path, ['--database-url-file', join(folder.path, 'url'), ...args]);
  ups.push(up);
  return up;
};
/** What a second replica needs of the first. */
const copyKek = () =>
  chmodSync(second.write('.sidekey/kek', readFileSync(join(first.path, '.sidekey/kek'), 'utf8')), 0o600);

test('two replicas on one database: objects, values, revocations and the audit are both theirs', {
  timeout: 60_000,
}, async () => {
  const one = await started(first, '--metrics-port', '0');
  copyKek();
  const two = await started(second, '--no-operator', '--metrics-port', '0');
  const ready = one.events.find(({ event }) => event === 'ready')!;
  expect(ready).toMatchObject({ database: url.replace(/\/\/.*@/, '//'), operator: true });
  expect(two.events).toContainEqual(expect.objectContaining({ event: 'ready', operator: false }));
  for (const { metricsPort } of [one, two].map(({ events }) => events.find(({ event }) => event === 'ready')!))
    expect(await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()).toContain('sidekey_');

  // Set at the one that has no operator; the other's operator sees it.
  expect(await at(second, 'credential', 'set', 'api-key')).toMatchObject({ code: 0 });
  await one.ready(2);
  expect((await at(second, 'credential', 'list')).stdout).toMatch(/api-key/);
  expect(await at(first, 'revoke', 'credential', 'api-key')).toMatchObject({ code: 0 });
  await until(async () => (await at(second, 'revoke', 'list')).stdout.includes('default/api-key'));

  expect(await at(second, 'get')).toMatchObject({ code: 1, stderr: expect.stringContaining('no operator has looked') });

  // Each writes a chain of its own; every command reads both.
  const tail = await at(second, 'audit', 'tail', '-n', '1000', '-o', 'json');
  const entries = tail.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(new Set(entries.map(({ chain }) => chain)).size).toBe(2);
  expect(entries.map(({ at: time }) => time)).toEqual(entries.map(({ at: time }) => time).sort());
  const kinds = (await at(first, 'audit', 'tail', '-n', '1000')).stdout;
  for (const kind of ['material.written', 'credential.applied', 'store.started']) expect(kinds).toContain(kind);
  expect(await at(first, 'audit', 'verify')).toMatchObject({ code: 0 });

  // Nothing that people or programs read holds the password, and neither has made a database of its own.
  for (const { events, stderr } of [one, two]) expect(JSON.stringify(events) + stderr).not.toContain(server.password);
  for (const folder of [first, second]) {
    expect(existsSync(join(folder.path, '.sidekey/store.db'))).toBe(false);
    expect(readFileSync(join(folder.path, '.sidekey/database.json'), 'utf8')).not.toContain(server.password);
  }

  // One alone goes on.
  await one.stop();
  expect(await at(second, 'credential', 'set', 'api-key')).toMatchObject({ code: 0 });
});

test('audit tail -f follows the chains of all replicas, also of one that starts meanwhile', {
  timeout: 60_000,
}, async () => {
  await started(first);
  const child = startSidekey(['audit', 'tail', '-f', '--dir', first.path]);
  const end = ended(child);
  let shown = '';
  child.stdout!.on('data', (text) => {
    shown += text;
  });
  await until(() => shown.includes('store.started'));
  copyKek();
  await started(second, '--no-operator');
  await at(second, 'credential', 'set', 'other-key');
  await expect.poll(() => shown, { timeout: 15_000 }).toMatch(/material\.written +default\/other-key@1/);
  child.kill('SIGKILL');
  await end;
});

test('commands without a running store go to the database of the last time, and say so if it is not at hand', {
  timeout: 60_000,
}, async () => {
  const byVariable = { env: { SIDEKEY_DATABASE_URL: url } };
  const up = await Up.serving(first.path, [], byVariable);
  await up.stop();
  const list = () => sidekey(['credential', 'list', '--dir', first.path]);
  expect(await list()).toMatchObject({ code: 1, stderr: expect.stringContaining('SIDEKEY_DATABASE_URL is not set') });
  expect(existsSync(join(first.path, '.sidekey/store.db'))).toBe(false);
  const set = ['credential', 'set', 'api-key', '--dir', first.path];
  expect(await sidekey(set, { ...byVariable, input: 'the value' })).toMatchObject({ code: 0 });
  await (await started(first)).stop();
  expect(await list()).toMatchObject({ code: 0, stdout: expect.stringContaining('api-key') });
});

test('a replica with another KEK does not start, and says which key the database needs', async () => {
  await started(first);
  const result = await sidekey(['up', second.path, '--database-url-file', join(second.path, 'url')]);
  expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(/encrypted under key [0-9a-f]{16}/) });
});

test('run --store goes on with another replica when the one of its folder is gone', { timeout: 90_000 }, async () => {
  const one = await started(first);
  copyKek();
  await started(second, '--no-operator');
  expect(await at(first, 'credential', 'set', 'api-key')).toMatchObject({ code: 0 });
  await one.ready(2);
  expect(await at(first, 'run', '--store', 'second')).toMatchObject({
    code: 125,
    stderr: expect.stringContaining('no URL of a store'),
  });
  const { storeUrl } = JSON.parse(readFileSync(join(second.path, '.sidekey/run.json'), 'utf8'));
  const asUs = process.getuid?.() === 0 ? ['--user', 'root'] : [];
  const run = startSidekey([
    'run',
    '--dir',
    first.path,
    '--tag',
    'llm',
    '--store',
    storeUrl,
    ...asUs,
    '--',
    'sleep',
    '60',
  ]);
  const end = ended(run);
  onTestFinished(async () => {
    run.kill('SIGTERM');
    await end;
  });
  const leasedVersions = async () =>
    (await at(second, 'audit', 'tail', '-n', '1000', '-o', 'json')).stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line).event)
      .filter(({ kind }) => kind === 'lease.issued')
      .map(({ version }) => version);
  await expect.poll(leasedVersions, { timeout: 20_000 }).toContain(1);
  await one.stop();
  const set = ['credential', 'set', 'api-key', '--dir', second.path];
  expect(await sidekey(set, { input: 'sk-another-value' })).toMatchObject({ code: 0 });
  await expect.poll(leasedVersions, { timeout: 20_000 }).toContain(2);
});

test('after a rotation of the KEK the other replica is sealed until the key file is copied to it, without a restart, and says so', {
  timeout: 90_000,
}, async () => {
  await started(first);
  copyKek();
  await started(second, '--no-operator');
  expect(await at(first, 'credential', 'set', 'api-key')).toMatchObject({ code: 0 });
  expect(await at(first, 'kek', 'rotate')).toMatchObject({ code: 0 });
  await expect.poll(async () => (await at(second, 'kek', 'status')).code, { timeout: 20_000 }).toBe(4);
  const { stderr } = await at(second, 'kek', 'status');
  expect(stderr).toContain('copy the key file from there to');
  expect(stderr).toContain('no restart is needed');
  copyKek();
  await expect.poll(async () => (await at(second, 'kek', 'status')).code, { timeout: 20_000 }).toBe(0);
  expect(await at(second, 'credential', 'set', 'api-key')).toMatchObject({ code: 0 });
});

test('restore into another database takes over from the replaced one what was revoked since the backup, or refuses', {
  timeout: 90_000,
}, async () => {
  await started(first);
  expect(await at(first, 'credential', 'set', 'api-key')).toMatchObject({ code: 0 });
  const backup = join(first.path, 'backup');
  const passphrase = { input: 'correct horse battery staple' };
  expect(await sidekey(['backup', backup, '--dir', first.path], passphrase)).toMatchObject({ code: 0 });
  expect(await at(first, 'revoke', 'credential', 'api-key')).toMatchObject({ code: 0 });
  second.write('new', `${await server.newDatabase()}\n`);
  const restore = (old: string) =>
    sidekey(
      [
        ...['restore', backup, '--dir', second.path, '--database-url-file', join(second.path, 'new')],
        ...['--replaced-database-url-file', old],
      ],
      passphrase,
    );
  const running = await restore(join(second.path, 'url'));
  expect(running).toMatchObject({ code: 4, stderr: expect.stringContaining('runs still') });
  for (const up of ups.splice(0)) await up.stop();
  expect(await restore('nowhere')).toMatchObject({ code: 2 });
  const unreadable = await restore(second.write('unreadable', server.url('nowhere')));
  expect(unreadable).toMatchObject({ code: 4, stderr: expect.stringContaining('cannot be read') });
  expect(unreadable.stderr).not.toContain(server.password);
  const restored = await restore(join(second.path, 'url'));
  expect(restored).toMatchObject({ code: 0, stdout: expect.stringContaining('was replaced: 1 revocations') });
  expect(await at(second, 'audit', 'verify')).toMatchObject({ code: 0 });
  // The restore remembers which database it was.
  ups.push(await Up.serving(second.path, ['--no-operator']));
  expect(await at(second, 'revoke', 'list')).toMatchObject({ stdout: expect.stringContaining('default/api-key') });
});

test('what is no URL of a database is a usage error that does not quote it', async () => {
  first.write('url', 'mysql://root:hunter2@db');
  for (const { code, stderr } of [
    await sidekey(['up', first.path, '--database-url-file', join(first.path, 'url')]),
    await sidekey(['up', first.path], { env: { SIDEKEY_DATABASE_URL: 'mysql://root:hunter2@db' } }),
  ]) {
    expect(code).toBe(2);
    expect(stderr).toContain('holds no URL of a PostgreSQL database');
    expect(stderr).not.toContain('hunter2');
  }
  expect(await sidekey(['up', first.path, '--database-url-file', 'nowhere'])).toMatchObject({ code: 2 });
  expect(await sidekey(['up', first.path, '--metrics-port', 'x'])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--metrics-port x is no port'),
  });
});
