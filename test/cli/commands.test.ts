import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bearerYaml } from './objects.ts';
import { type SidekeyOptions, sidekey, TestFolder, Up } from './sidekey.ts';

let folder: TestFolder;
beforeEach(() => {
  folder = new TestFolder();
});
afterEach(() => folder.remove());

const here = (...args: string[]) => sidekey(args, { cwd: folder.path });
const set = (args: string[], options: SidekeyOptions) =>
  sidekey(['credential', 'set', '--dir', folder.path, ...args], { cwd: folder.path, ...options });

test('a value on the command line is refused, explained, and not repeated', async () => {
  const result = await set(['api-key', 'sk-secret-value'], {});
  expect(result.code).toBe(2);
  expect(result.stderr).toContain('the value does not go on the command line');
  expect(result.stderr).not.toContain('sk-secret-value');
});

test('exactly one line break is taken off standard input, and that is said', async () => {
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  const one = await set(['api-key', '-o', 'json'], { input: 'value\n' });
  expect(one.stderr).toContain('one line break at the end of the input was left out');
  expect(JSON.parse(one.stdout)).toEqual({ key: 'default/api-key', version: 1, fields: ['value'] });
  expect((await set(['api-key'], { input: 'value' })).stderr).toBe('');
  // The same value is no new version, so the first one had no line break.
  const list = JSON.parse((await here('credential', 'list', '-o', 'json')).stdout);
  expect(list).toMatchObject([{ key: 'default/api-key', version: 1 }]);
});

test('empty input, wrong names and several fields without a terminal are refused', async () => {
  expect(await set(['api-key'], { input: '' })).toMatchObject({ code: 1, stderr: expect.stringContaining('is empty') });
  expect(await set(['Api_Key'], { input: 'x' })).toMatchObject({ code: 2 });
  expect(await set(['api-key', '--field', 'a b'], { input: 'x' })).toMatchObject({ code: 2 });
  expect(await set(['api-key', '--field', 'a', '--field', 'b'], { input: 'x' })).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('need a terminal'),
  });
});

test('a value that cannot be placed in a request is refused', async () => {
  for (const input of ['a\nb', 'a\n\n', 'a\0b'])
    expect(await set(['api-key'], { input })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('nothing was set'),
    });
});

test('a value for a name that no Credential has is kept, and the name that was meant is told', async () => {
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  folder.write('broken.yaml', bearerYaml({ name: 'broken', host: 'API.example.com' }));
  const typed = await set(['apl-key'], { input: 'value' });
  expect(typed).toMatchObject({ code: 0, stdout: expect.stringContaining('version 1') });
  expect(typed.stderr).toContain('is named default/apl-key; did you mean default/api-key?');
  expect((await set(['api-key'], { input: 'value' })).stderr).toBe('');
  expect((await set(['broken-key'], { input: 'value' })).stderr).toBe('');
});

test('credential list shows fields and versions, and rm removes', async () => {
  await set(['api-key', '--field', 'token', '-n', 'team'], { input: 'x' });
  expect((await here('credential', 'list')).stdout).toMatch(/^team\/api-key +- \(no Credential names it\) +1 +token/m);
  expect(await here('credential', 'rm', 'team/api-key')).toMatchObject({ code: 0 });
  expect(await here('credential', 'rm', 'team/api-key')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no material'),
  });
  expect((await here('credential', 'list', '-o', 'json')).stdout).toBe('[]\n');
});

test('get works while nothing runs, and says how old it is', async () => {
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  folder.write('bad.yaml', bearerYaml({ name: 'bad', host: 'API.example.com' }));
  const up = await Up.start(folder.path);
  await up.until(({ status }) => status?.problems.length === 2);
  const running = await here('get');
  expect(running).toMatchObject({ code: 0, stderr: '' });
  expect(running.stdout).toMatch(/default\/api-key +False +MaterialMissing/);
  expect(running.stdout).toMatch(/✗ bad\.yaml.*hosts/);
  await up.stop();
  const later = await here('get', 'credential', 'api-key', '-o', 'json');
  expect(later.stderr).toMatch(/nothing runs on .*; this is what was so \d+s ago/);
  expect(JSON.parse(later.stdout).objects).toMatchObject([{ key: 'default/api-key', file: 'api.yaml' }]);
  expect(await here('get', 'integration', 'none')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('default/api'),
  });
  expect(await here('get', 'pods')).toMatchObject({ code: 2 });
  expect((await here('get', '-o', 'yaml')).stdout).toContain('reconciledAt:');
  expect((await here('get', '-o', 'wide')).stdout).toContain('sidekeyPlaceholder');
});

test('where nothing ever ran: 3, with what to do', async () => {
  for (const args of [
    ['get'],
    ['session', 'list'],
    ['audit', 'verify'],
    ['audit', 'tail', '-f'],
    ['credential', 'list'],
  ])
    expect(await here(...args), args.join(' ')).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('sidekey up'),
    });
  await set(['api-key'], { input: 'x' });
  expect(await here('session', 'list')).toMatchObject({ code: 3 });
});

test('the state directory is found upwards, by --dir and by SIDEKEY_DIR', async () => {
  await set(['api-key'], { input: 'x' });
  const below = join(folder.path, 'a/b');
  folder.write('a/b/c', '');
  expect((await sidekey(['credential', 'list'], { cwd: below })).stdout).toContain('default/api-key');
  expect((await sidekey(['credential', 'list', '--dir', folder.path], { cwd: '/' })).stdout).toContain(
    'default/api-key',
  );
  const named = { cwd: '/', env: { SIDEKEY_DIR: folder.path } };
  expect((await sidekey(['credential', 'list'], named)).stdout).toContain('default/api-key');
});

test('a folder with neither state nor objects is not made one by accident', async () => {
  for (const args of [
    ['credential', 'set', 'api-key'],
    ['explain', 'GET', 'https://x.example/'],
  ])
    expect(await here(...args)).toMatchObject({ code: 3, stderr: expect.stringContaining('sidekey init DIR') });
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  expect(await here('explain', 'GET', 'https://api.example.com/', '--tag', 'llm')).toMatchObject({ code: 0 });
});

test('git ignores the state directory', async () => {
  await set(['api-key'], { input: 'x' });
  expect(readFileSync(join(folder.path, '.sidekey/.gitignore'), 'utf8')).toBe('*\n');
});

test('explain decides before anything runs, with 4 for what is refused', async () => {
  folder.write(
    'api.yaml',
    bearerYaml({ name: 'api', host: 'api.example.com', extra: '  rules: [{ methods: [GET] }]\n' }),
  );
  const ask = (...args: string[]) => here('explain', ...args, '--tag', 'llm');
  const placed = await ask('get', 'https://api.example.com/v1');
  expect(placed).toMatchObject({ code: 0, stderr: '' });
  expect(placed.stdout).toContain('credential default/api-key is placed as Authorization: Bearer');
  const refused = await ask('DELETE', 'https://api.example.com/v1', '-o', 'json');
  expect(refused.code).toBe(4);
  expect(JSON.parse(refused.stdout)).toMatchObject({ decision: 'refuse', code: 'RuleDenied', status: 403 });
  expect(await ask('GET', 'https://other.example.com/')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('passed through'),
  });
  expect(await ask('GET', 'https://other.example.com/', '--egress', 'closed')).toMatchObject({ code: 4 });
  expect(await ask('GET', 'not a url')).toMatchObject({ code: 2 });
  const untagged = await here('explain', 'GET', 'https://api.example.com/v1');
  expect(untagged.stdout).toContain('Integration default/api would match with --tag llm');
});

test('audit verify finds an edited entry, with 4', async () => {
  await set(['api-key'], { input: 'x' });
  expect(await here('audit', 'verify')).toMatchObject({ code: 0, stdout: expect.stringContaining('unbroken') });
  const lines = (await here('audit', 'tail', '-n', '100', '-o', 'json')).stdout.trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).event.kind)).toContain('material.written');
  const database = new DatabaseSync(join(folder.path, '.sidekey/store.db'));
  const table = String(
    database.prepare(`SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%audit%'`).get()!.name,
  );
  database.exec(`UPDATE ${table} SET event = replace(event, 'api-key', 'own-key')`);
  database.close();
  const result = await here('audit', 'verify');
  expect(result.code).toBe(4);
  expect(result.stdout + result.stderr).toMatch(/edited|does not have so/);
});

test('init makes a folder that works, and overwrites nothing', async () => {
  expect(await here('init', 'agents')).toMatchObject({ code: 0, stdout: expect.stringContaining('openai.yaml') });
  expect(readFileSync(join(folder.path, 'agents/.gitignore'), 'utf8')).toContain('.sidekey/');
  const explained = await here(
    'explain',
    '--dir',
    'agents',
    'POST',
    'https://api.openai.com/v1/chat/completions',
    '--tag',
    'llm',
  );
  expect(explained).toMatchObject({ code: 0, stderr: '' });
  writeFileSync(join(folder.path, 'agents/openai.yaml'), 'mine');
  expect(await here('init', 'agents')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('nothing was written'),
  });
  expect(readFileSync(join(folder.path, 'agents/openai.yaml'), 'utf8')).toBe('mine');
});

const ENV = `# keys
export OPENAI_API_KEY="sk-proj-0123456789abcdefghij" # mine
GH_TOKEN=ghp_0123456789abcdefghijklmnopqrstuvwxyz
GITHUB_TOKEN=ghp_0123456789abcdefghijklmnopqrstuvwxyz
TWILIO_ACCOUNT_SID=AC0123456789
TWILIO_AUTH_TOKEN='0123456789abcdef0123456789abcdef'
DD_API_KEY=0123456789abcdef
DATABASE_URL=postgres://me:pw@db/x
LOG_LEVEL=debug
`;

test('import moves keys into the store and leaves placeholders; twice is as once', async () => {
  folder.write('.env', ENV);
  const first = await here('import', '.env', '--dir', 'agents', '-o', 'json');
  expect(first).toMatchObject({ code: 0 });
  expect(JSON.parse(first.stdout).imported.map((one: { credential: string }) => one.credential)).toEqual([
    'default/openai-key',
    'default/github-key',
    'default/twilio-key',
    'default/datadog-key',
  ]);
  const written = readFileSync(join(folder.path, '.env.sidekey'), 'utf8');
  expect(statSync(join(folder.path, '.env.sidekey')).mode & 0o777).toBe(0o600);
  expect(written).toMatch(/^export OPENAI_API_KEY=sk-sidekeyPlaceholder\w+$/m);
  expect(written).toContain('TWILIO_ACCOUNT_SID=AC0123456789\n');
  expect(written).toContain('LOG_LEVEL=debug\n');
  expect(written).not.toMatch(/0123456789abcdef/);
  expect(readFileSync(join(folder.path, '.env'), 'utf8')).toBe(ENV);
  for (const url of [
    'https://api.openai.com/v1/models',
    'https://github.com/a/b.git',
    'https://api.twilio.com/x',
    'https://api.datadoghq.com/x',
  ]) {
    const tags = ['llm', 'code', 'chat', 'cloud'].flatMap((tag) => ['--tag', tag]);
    const explained = await here('explain', 'GET', url, '--dir', 'agents', ...tags);
    expect(explained.stdout, url).toContain('is placed by Integration');
  }
  const second = await here('import', '.env', '--dir', 'agents');
  expect(second).toMatchObject({ code: 0, stdout: expect.stringContaining('openai.yaml is unchanged') });
  expect(readFileSync(join(folder.path, '.env.sidekey'), 'utf8')).toBe(written);
  const list = JSON.parse((await here('credential', 'list', '--dir', 'agents', '-o', 'json')).stdout);
  expect(list).toHaveLength(4);
});

test('import lists what it does not know, and says what may be secret', async () => {
  folder.write('.env', ENV);
  const { stdout } = await here('import', '.env', '--dry-run');
  expect(stdout).toContain('DATABASE_URL is left as it is');
  expect(stdout).toMatch(/left as they are: .*LOG_LEVEL/);
  expect(stdout).toContain('Nothing was written');
  expect(stdout).not.toMatch(/0123456789abcdef|:pw@/);
  expect(() => statSync(join(folder.path, '.sidekey'))).toThrow();
});

test('import overwrites neither the source, nor a file of yours, nor YAML that you have edited', async () => {
  folder.write('.env', ENV);
  expect(await here('import', '.env', '--write-env', '.env')).toMatchObject({ code: 2 });
  folder.write('mine.env', 'A=1\n');
  expect(await here('import', '.env', '--write-env', 'mine.env')).toMatchObject({ code: 1 });
  folder.write('openai.yaml', '# mine\n');
  expect((await here('import', '.env')).stdout).toContain('openai.yaml differs and was kept');
  expect(readFileSync(join(folder.path, 'openai.yaml'), 'utf8')).toBe('# mine\n');
});

test('errors are JSON with -o json', async () => {
  const result = await here('get', '-o', 'json');
  expect(JSON.parse(result.stderr)).toEqual({
    error: { code: 'NoFolder', message: expect.any(String), next: expect.any(String) },
  });
});
