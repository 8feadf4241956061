import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bearerYaml } from './objects.ts';
import { cleanEnv, SIDEKEY, sidekey, TestFolder, Up } from './sidekey.ts';

// A person's terminal, made by script(1); its Linux form is what the tests know.
const folder = new TestFolder();
let up: Up;
const AS_US = process.getuid?.() === 0 ? '--user root' : '';

beforeAll(async () => {
  folder.write('api.yaml', bearerYaml({ name: 'api', host: 'api.example.com' }));
  up = await Up.start(folder.path);
}, 60_000);
afterAll(async () => {
  await up.stop();
  folder.remove();
});

class Terminal {
  readonly child: ChildProcess;
  shown = '';

  constructor(command: string, env: Record<string, string> = {}) {
    this.child = spawn('script', ['-qefc', command, '/dev/null'], {
      env: cleanEnv({ TERM: 'xterm', SIDEKEY, ...env }),
      cwd: folder.path,
    });
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.shown += text;
    });
  }

  async type(after: string, keys: string): Promise<void> {
    await expect.poll(() => this.shown, { timeout: 15_000 }).toContain(after);
    this.child.stdin!.write(keys);
  }

  async exitCode(): Promise<number> {
    if (this.child.exitCode === null) await once(this.child, 'close');
    return this.child.exitCode!;
  }
}

test('a value is asked for unseen, with corrections, and stored', async () => {
  const terminal = new Terminal('$SIDEKEY credential set api-key');
  await terminal.type('Value of default/api-key (not shown): ', 'wrong\x15secre_\x7ft-typed\r');
  expect(await terminal.exitCode()).toBe(0);
  expect(terminal.shown).not.toMatch(/secret-typed|wrong/);
  const list = async () =>
    JSON.parse((await sidekey(['credential', 'list', '--dir', folder.path, '-o', 'json'])).stdout);
  const [before] = await list();
  expect(before).toMatchObject({ key: 'default/api-key', version: 1 });
});

test('Ctrl-C at the prompt sets nothing', async () => {
  const terminal = new Terminal('$SIDEKEY credential set other-key');
  await terminal.type('(not shown): ', 'abc\x03');
  expect(await terminal.exitCode()).toBe(1);
  expect(terminal.shown).toContain('nothing was set');
});

test('several fields are each asked for', async () => {
  const terminal = new Terminal('$SIDEKEY credential set two-key --field user --field pass');
  await terminal.type('Field user of default/two-key', 'me\r');
  await terminal.type('Field pass of default/two-key', 'secret\r');
  expect(await terminal.exitCode()).toBe(0);
  expect(terminal.shown).toContain('version 1, pass, user');
});

test('colours on a terminal, and none with NO_COLOR', async () => {
  const coloured = new Terminal('$SIDEKEY get');
  await coloured.exitCode();
  expect(coloured.shown).toContain('\x1b[');
  const plain = new Terminal('$SIDEKEY get', { NO_COLOR: '1' });
  await plain.exitCode();
  expect(plain.shown).toContain('default/api');
  expect(plain.shown).not.toContain('\x1b[');
});

test('Ctrl-C reaches the agent once, and its sidecar outlives it', async () => {
  const script =
    'trap "echo caught" INT; echo ready; read line; curl -s -o /dev/null -w "%{http_code}" $SIDEKEY_URL/none; exit 5';
  const terminal = new Terminal(`exec $SIDEKEY run --tag llm ${AS_US} -- bash -c '${script}'`);
  await terminal.type('ready', '\x03');
  await terminal.type('caught', 'go\r');
  expect(await terminal.exitCode()).toBe(5);
  expect(terminal.shown.match(/caught/g)).toHaveLength(1);
  expect(terminal.shown).toContain('404');
});
