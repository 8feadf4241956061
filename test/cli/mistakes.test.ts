import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bearerYaml } from './objects.ts';
import { sidekey, TestFolder, Up } from './sidekey.ts';

const DISK_BYTES = 4 * 1024 * 1024;
let folder: TestFolder;
let up: Up | undefined;
beforeEach(() => {
  folder = new TestFolder();
  up = undefined;
});
afterEach(async () => {
  await up?.stop();
  folder.remove();
});

const object = (kind: string, name: string, spec: string) =>
  `apiVersion: sidekey.dev/v1alpha1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec:\n${spec}`;
const integration = (name: string, credential: string, host: string) =>
  object(
    'Integration',
    name,
    `  credentialRef: { name: ${credential} }\n  hosts: ['${host}']\n  inject: [{ bearer: {} }]\n  subjects: { tags: [llm] }\n`,
  );

/** File → what a person does wrong in it, and what they read of it. */
const MISTAKES: readonly { file: string; text: string; reads: RegExp }[] = [
  { file: 'malformed.yaml', text: 'kind: Credential\nspec: {', reads: /✗ malformed\.yaml\n +line 2: not valid YAML/ },
  {
    file: 'unknown.yaml',
    text: object(
      'Credential',
      'unknown',
      '  source: { store: {} }\n  hosts: [a.example.com]\n  hostz: [b.example.com]\n',
    ),
    reads:
      /✗ unknown\.yaml: Credential default\/unknown: spec\.hostz\n +line 7: unknown field "hostz"; did you mean hosts/,
  },
  {
    file: 'wide.yaml',
    text: object('Credential', 'wide', "  source: { store: {} }\n  hosts: ['*.co.uk']\n"),
    reads: /Credential default\/wide \(wide\.yaml\): WildcardTooWide/,
  },
  {
    file: 'everything.yaml',
    text: object('Credential', 'everything', "  source: { store: {} }\n  hosts: ['*']\n"),
    reads: /✗ everything\.yaml: Credential default\/everything: spec\.hosts\[0\]\n +line 6: expected host/,
  },
  {
    file: 'secretless.yaml',
    text: object(
      'Credential',
      'secretless',
      '  source: { secret: { name: nowhere, key: value } }\n  hosts: [c.example.com]\n',
    ),
    reads: /Credential default\/secretless \(secretless\.yaml\): SecretDoesNotExist\n.*There is no Secret nowhere/,
  },
  {
    file: 'first.yaml',
    text: bearerYaml({ name: 'first', host: 'twice.example.com' }),
    reads: /✗ Credential default\/first-key \(first\.yaml\): MaterialMissing\n.*sidekey credential set first-key/,
  },
  {
    file: 'second.yaml',
    text: bearerYaml({ name: 'second', host: 'twice.example.com' }),
    reads:
      /Integration default\/second \(second\.yaml\): HostConflict, OlderIntegrationWins\n.*default\/first covers the same host/,
  },
  {
    file: 'outside.yaml',
    text: integration('outside', 'first-key', 'elsewhere.example.com'),
    reads: /Integration default\/outside \(outside\.yaml\): HostOutsideCredential/,
  },
  {
    file: 'dangling.yaml',
    text: integration('dangling', 'nobody', 'd.example.com'),
    reads: /Integration default\/dangling \(dangling\.yaml\): CredentialDoesNotExist/,
  },
];

test('each mistake in a folder is told by file and object, with what to do, and hinders nothing else', async () => {
  for (const { file, text } of MISTAKES) folder.write(file, text);
  folder.write('good.yaml', bearerYaml({ name: 'good', host: 'good.example.com' }));
  up = await Up.start(folder.path);
  await sidekey(['credential', 'set', 'good-key', '--dir', folder.path], { input: 'a good value' });
  await up.until(
    ({ status }) => status?.objects.find(({ key }) => key === 'default/good')?.status.conditions[0]?.status === 'True',
  );
  const { stdout } = await sidekey(['get', '--dir', folder.path]);
  for (const { reads } of MISTAKES) expect(stdout).toMatch(reads);
  expect(stdout).toMatch(/default\/good +True/);
});

test('a database that is damaged is not started on, and what to do is said', async () => {
  up = await Up.start(folder.path);
  await up.stop();
  const database = join(folder.path, '.sidekey/store.db');
  const damaged = readFileSync(database).fill(0x5a, 4096);
  writeFileSync(database, damaged);
  const { code, stderr } = await sidekey(['up', folder.path]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/store\.db is damaged \([\s\S]*\)\. Restore a backup of it, or move .*store\.db\* away/);
  expect(readFileSync(database).equals(damaged)).toBe(true);
});

// A disk of its own takes root; store/persist/sqlite/repository.test.ts tests the same with a bounded file.
if (process.platform === 'linux' && process.getuid?.() === 0)
  test('on a full disk a value is refused with the reason, nothing is lost, and it goes on when there is space', async () => {
    const disk = join(folder.path, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk]);
    try {
      const set = (input: string) => sidekey(['credential', 'set', 'api-key', '--dir', disk], { input });
      writeFileSync(join(disk, 'api.yaml'), bearerYaml({ name: 'api', host: 'api.example.com' }));
      up = await Up.start(disk);
      expect(await set('before')).toMatchObject({ code: 0 });
      fill(join(disk, 'filler'));
      let refused = await set('during 0');
      for (let n = 1; n < 50 && refused.code === 0; n++) refused = await set(`during ${n} ${'x'.repeat(4_000)}`);
      expect(refused).toMatchObject({
        code: 1,
        stderr: expect.stringMatching(/full|space|cannot write|could not be written/i),
      });
      rmSync(join(disk, 'filler'));
      expect(await set('after')).toMatchObject({ code: 0 });
      expect(await sidekey(['audit', 'verify', '--dir', disk])).toMatchObject({ code: 0 });
      expect(await up.stop()).toBe(0);
      expect(existsSync(join(disk, '.sidekey/store.db'))).toBe(true);
    } finally {
      await up?.stop();
      execFileSync('umount', [disk]);
    }
  });
else process.stdout.write('!! NOT RUN: a full disk under sidekey up, which takes root on Linux (mount of a tmpfs)\n');

/** Takes all the space there is. */
function fill(path: string): void {
  for (let bytes = DISK_BYTES; bytes >= 1; bytes = Math.floor(bytes / 2)) {
    try {
      writeFileSync(path, Buffer.alloc(bytes), { flag: 'a' });
    } catch {
      // A smaller piece may still fit.
    }
  }
}
