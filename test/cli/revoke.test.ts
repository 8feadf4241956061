import { afterEach, beforeEach, expect, test } from 'vitest';
import { bearerYaml } from './objects.ts';
import { sidekey, TestFolder, Up } from './sidekey.ts';

let folder: TestFolder;
let up: Up;
beforeEach(async () => {
  folder = new TestFolder();
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  up = await Up.start(folder.path);
});
afterEach(async () => {
  await up.stop();
  folder.remove();
});

const revoke = (...args: string[]) => sidekey(['revoke', ...args], { cwd: folder.path });

test('revoke, list and lift, as text and as JSON; twice is once', async () => {
  expect((await revoke('list')).stdout).toBe('nothing is revoked\n');
  const dry = JSON.parse((await revoke('tag', 'llm', '--dry-run', '-o', 'json')).stdout);
  expect(dry).toMatchObject({ dryRun: true, already: false, sessionCount: 0, revocation: { id: 'tag:llm' } });
  expect((await revoke('list', '-o', 'json')).stdout).toBe('[]\n');
  const made = await revoke('credential', 'api-key', '--reason', 'key leaked');
  expect(made.stdout).toContain('sidekey revoke lift credential:default/api-key');
  expect((await revoke('credential', 'default/api-key')).stdout).toContain('was revoked before');
  expect((await revoke('list')).stdout).toMatch(/^credential:default\/api-key +\d+s ago +owner +key leaked$/m);
  expect((await revoke('lift', 'credential:default/api-key')).stdout).toContain('is lifted');
  expect(await revoke('lift', 'credential:default/api-key')).toMatchObject({ code: 1 });
});

test('what cannot be is refused: no name, a wrong one, a lease or session that there never was', async () => {
  expect(await revoke('tag')).toMatchObject({ code: 2 });
  expect(await revoke('tag', 'A B')).toMatchObject({ code: 1 });
  expect(await revoke('session', 'none')).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no session none'),
  });
  expect(await revoke('lease', 'none')).toMatchObject({ code: 1, stderr: expect.stringContaining('no lease none') });
});
