import { once } from 'node:events';
import { chownSync, existsSync, readdirSync, readFileSync, renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AdminSession } from '../../api/admin.ts';
import { bearerYaml } from './objects.ts';
import { ended, type SidekeyOptions, sidekey, startSidekey, TestFolder, Up } from './sidekey.ts';
import { TestUpstream } from './testUpstream.ts';

const HOST = 'api.openai.com';
const SECRET = 'sk-proj-the-real-key-of-this-test';
const folder = new TestFolder();
const upstream = new TestUpstream([HOST, 'other.test']);
let up: Up;
const isRoot = process.getuid?.() === 0;
const AS_US = isRoot ? ['--user', 'root'] : [];

beforeAll(async () => {
  await upstream.start();
  folder.write('openai.yaml', bearerYaml({ name: 'openai', host: HOST }));
  folder.write('ca.pem', upstream.caPem);
  await sidekey(['credential', 'set', '--dir', folder.path, 'openai-key'], { input: SECRET });
  up = await Up.start(folder.path);
  await up.ready(2);
}, 60_000);

afterAll(async () => {
  await up.stop();
  upstream.close();
  folder.remove();
});

const args = (...more: string[]) => ['run', '--dir', folder.path, '--tag', 'llm', ...AS_US, ...more];
const shell = (script: string, options: SidekeyOptions & { args?: string[] } = {}) =>
  sidekey([...args(...(options.args ?? [])), '--', 'sh', '-c', script], options);

test("the command's exit code and output are passed on", async () => {
  const result = await shell('cat; echo out; echo err >&2; exit 42', { input: 'in ' });
  expect(result).toMatchObject({ code: 42, stdout: 'in out\n' });
  expect(result.stderr).toContain('err\n');
});

test('one line says what is covered, for whom', async () => {
  expect((await shell('true')).stderr).toContain('sidekey: 1 integration (openai) for tag llm\n');
  const json = await shell('true', { args: ['-o', 'json', '--role', 'researcher'] });
  const line = json.stderr.split('\n').find((text) => text.includes('"event":"run"'));
  expect(JSON.parse(line!)).toMatchObject({ integrations: ['default/openai'], role: 'researcher', tags: ['llm'] });
});

test('files with problems are spoken of when an agent starts', async () => {
  folder.write('broken.yaml', 'kind: [');
  try {
    expect((await shell('true')).stderr).toMatch(/warning: 1 problem in the files of the folder/);
  } finally {
    unlinkSync(join(folder.path, 'broken.yaml'));
  }
});

test('an agent that starts together with sidekey up waits for it', async () => {
  const file = join(folder.path, '.sidekey/run.json');
  renameSync(file, `${file}.away`);
  const running = shell('echo started');
  setTimeout(() => renameSync(`${file}.away`, file), 800);
  expect(await running).toMatchObject({ code: 0, stdout: 'started\n' });
});

test('an agent that no Integration is for is told what would match', async () => {
  const result = await sidekey(['run', '--dir', folder.path, ...AS_US, '--', 'true']);
  expect(result.code).toBe(0);
  expect(result.stderr).toContain('no integration is for no role and no tags');
  expect(result.stderr).toContain('Integration default/openai would match with --tag llm');
});

test('a command that does not exist is 127, one that cannot be executed 126, our own failure 125', async () => {
  expect(await sidekey(args('--', 'no-such-command'))).toMatchObject({ code: 127 });
  expect(await sidekey(args('--', folder.write('plain.txt', 'text')))).toMatchObject({ code: 126 });
  expect(await sidekey(args())).toMatchObject({ code: 125, stderr: expect.stringContaining('no command') });
  expect(await sidekey(['run', '--nonsense', '--', 'true'])).toMatchObject({ code: 125 });
  const nothing = new TestFolder();
  expect(await sidekey(['run', '--dir', nothing.path, '--', 'true'])).toMatchObject({
    code: 125,
    stderr: expect.stringMatching(/nothing runs on .*\n.*sidekey up /),
  });
  nothing.remove();
});

test.for(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGQUIT', 'SIGWINCH'] as const)(
  '%s is passed on to the agent',
  async (signal) => {
    const name = signal.slice(3);
    const script = `trap 'echo got ${name}; exit 7' ${name}; echo ready; while :; do sleep 0.05; done`;
    const child = startSidekey([...args(), '--', 'sh', '-c', script]);
    await once(child.stdout!, 'data');
    const end = ended(child);
    child.kill(signal);
    expect(await end).toMatchObject({ code: 7, stdout: `got ${name}\n` });
  },
);

test('a signal before there is an agent ends the start, and leaves no files', async () => {
  const child = startSidekey([...args(), '--', 'sleep', '5'], { env: { TMPDIR: folder.path } });
  await expect.poll(() => runDirs(folder.path).length, { interval: 5 }).toBe(1);
  const end = ended(child);
  child.kill('SIGTERM');
  expect(await end).toMatchObject({ code: 143 });
  expect(runDirs(folder.path)).toEqual([]);
});

test('an agent that a signal ends gives 128 and its number', async () => {
  expect(await shell('kill -KILL $$')).toMatchObject({ code: 137 });
  expect(await shell('kill -TERM $$')).toMatchObject({ code: 143 });
});

test('options after the command are the command’s own, with or without --', async () => {
  expect(await sidekey([...args(), 'echo', '--role', '-o', 'json'])).toMatchObject({
    code: 0,
    stdout: '--role -o json\n',
  });
});

test('the environment holds placeholders, base URLs, proxies and CA variables, and no secret', async () => {
  const { stdout } = await shell('env');
  const env = Object.fromEntries(stdout.split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)));
  expect(env.OPENAI_API_KEY).toMatch(/^sk-sidekeyPlaceholder/);
  expect(env.SIDEKEY_CREDENTIAL_OPENAI_KEY).toBe(env.OPENAI_API_KEY);
  expect(env.SIDEKEY_OPENAI_URL).toBe(`${env.HTTPS_PROXY}/openai`);
  expect(env.https_proxy).toBe(env.HTTPS_PROXY);
  expect(env.SSL_CERT_FILE).toBe(env.NODE_EXTRA_CA_CERTS);
  expect(stdout).not.toContain(SECRET);
});

test('a real key in the environment is replaced and warned about, also under another name', async () => {
  const result = await shell('echo "$OPENAI_API_KEY $MY_KEY"', {
    env: { OPENAI_API_KEY: 'sk-1234567890abcdefghij', MY_KEY: 'sk-proj-1234567890abcdefghij' },
  });
  expect(result.stdout).toMatch(/^sk-sidekeyPlaceholder\w+ sk-sidekeyPlaceholder\w+\n$/);
  expect(result.stderr).toContain('OPENAI_API_KEY holds what looks like a real key for api.openai.com');
  expect(result.stderr).toContain('MY_KEY holds what looks like a real key');
  expect(result.stderr).not.toContain('1234567890');
});

test('--keep-env leaves it, with a warning', async () => {
  const result = await shell('echo "$OPENAI_API_KEY"', {
    args: ['--keep-env'],
    env: { OPENAI_API_KEY: 'sk-1234567890abcdefghij' },
  });
  expect(result.stdout).toBe('sk-1234567890abcdefghij\n');
  expect(result.stderr).toContain('--keep-env');
});

test('the proxy of the user is the one that the sidecar goes through, for covered hosts and others', async () => {
  const before = upstream.tunnels.length;
  const result = await shell(
    `curl -fsS https://${HOST}/v1/a && curl -fsS --cacert ${folder.path}/ca.pem https://other.test/b`,
    {
      args: ['--extra-ca', `${folder.path}/ca.pem`],
      env: { ALL_PROXY: upstream.proxyUrl },
    },
  );
  expect(result).toMatchObject({ code: 0, stdout: 'okok' });
  expect(upstream.tunnels.slice(before)).toEqual([`${HOST}:443`, 'other.test:443']);
  expect(upstream.seen.at(-2)).toMatchObject({ path: '/v1/a', authorization: `Bearer ${SECRET}` });
  expect(upstream.seen.at(-1)).toMatchObject({ path: '/b', authorization: undefined });
});

test('--egress closed refuses hosts without an Integration', async () => {
  const result = await shell('curl -sS -o /dev/null https://other.test/ ; echo $?', {
    args: ['--egress', 'closed'],
    env: { HTTPS_PROXY: upstream.proxyUrl },
  });
  expect(result.stdout).toBe('56\n');
});

test("the agent's end ends its session, and leaves no files", async () => {
  const during = await shell('dirname "$SSL_CERT_FILE"');
  expect(during.stdout).toContain('sidekey-run-');
  expect(existsSync(during.stdout.trim())).toBe(false);
  await expect.poll(async () => (await sessions()).length).toBe(0);
});

test('when its sidecar dies the agent is told, and its requests fail', async () => {
  const script = 'echo ready; read line; curl -sS https://api.openai.com/ 2>/dev/null; echo $?';
  const child = startSidekey([...args(), '--', 'sh', '-c', script], { env: { HTTPS_PROXY: upstream.proxyUrl } });
  const [, stderr] = [await once(child.stdout!, 'data'), collect(child.stderr!)];
  const end = ended(child);
  process.kill(sidecarOf(child.pid!), 'SIGKILL');
  await expect.poll(() => stderr()).toContain('the sidecar ended (signal SIGKILL)');
  child.stdin!.end('go\n');
  expect((await end).stdout).toBe('7\n');
});

test('when sidekey run is killed its sidecar goes with it', async () => {
  const child = startSidekey([...args(), '--', 'sh', '-c', 'echo ready; sleep 3']);
  await once(child.stdout!, 'data');
  const sidecar = sidecarOf(child.pid!);
  child.kill('SIGKILL');
  await expect.poll(() => isAlive(sidecar), { timeout: 5_000 }).toBe(false);
});

test('a session ends at once by sidekey session end, and its requests are refused', async () => {
  const script = `echo ready; read line; curl -s -o /dev/null -w '%{http_code}' "$SIDEKEY_OPENAI_URL/v1/x"`;
  const child = startSidekey([...args(), '--', 'sh', '-c', script], { env: { HTTPS_PROXY: upstream.proxyUrl } });
  await once(child.stdout!, 'data');
  // The one before, whose sidecar was killed, is still known.
  const session = (await sessions()).sort((a, b) => a.startedAt.localeCompare(b.startedAt)).at(-1);
  expect(session).toMatchObject({ tags: ['llm'], namespace: 'default' });
  const result = await sidekey(['session', 'end', '--dir', folder.path, session!.id]);
  expect(result).toMatchObject({ code: 0, stdout: `session ${session!.id} ended\n` });
  const end = ended(child);
  await sleep(300);
  child.stdin!.end('go\n');
  expect((await end).stdout).toBe('403');
});

if (isRoot) {
  const asRoot = ['run', '--dir', folder.path, '--tag', 'llm'];

  test('started by root, the agent is nobody, who can read neither the state nor the sidecar', async () => {
    const script = `id -u; id -G; cat ${folder.path}/.sidekey/kek; for pid in $(ls /proc | grep '^[0-9]'); do [ "$(tr '\\0' ' ' < /proc/$pid/cmdline 2>/dev/null | grep -c '[s]idecar/main')" = 1 ] && cat /proc/$pid/environ; done; touch "$HOME/x" && echo home`;
    const result = await sidekey([...asRoot, '--', 'sh', '-c', script], { cwd: '/' });
    expect(result.stdout).toBe('65534\n65534\nhome\n');
    expect(result.stderr).toContain('Permission denied');
  });

  test('started by sudo, the agent is whoever called it, and --user says otherwise', async () => {
    const sudo = { env: { SUDO_UID: '12345', SUDO_USER: 'somebody' }, cwd: '/' };
    expect(await sidekey([...asRoot, '--', 'id', '-u'], sudo)).toMatchObject({ stdout: '12345\n' });
    expect(await sidekey([...asRoot, '--user', 'daemon', '--', 'id', '-un'], sudo)).toMatchObject({
      stdout: 'daemon\n',
    });
    expect(await sidekey([...asRoot, '--user', '777:888', '--', 'sh', '-c', 'id -u; id -g'], sudo)).toMatchObject({
      stdout: '777\n888\n',
    });
  });

  test('an agent that runs as root is warned about', async () => {
    const result = await sidekey([...asRoot, '--user', 'root', '--', 'id', '-u']);
    expect(result.stdout).toBe('0\n');
    expect(result.stderr).toContain('the agent runs as root and can read the memory of the sidecar');
  });

  test('an agent that is the owner of the state directory is warned about', async () => {
    chownSync(`${folder.path}/.sidekey`, 4321, 0);
    const result = await sidekey([...asRoot, '--user', '4321', '--', 'id', '-u'], { cwd: '/' });
    chownSync(`${folder.path}/.sidekey`, 0, 0);
    expect(result).toMatchObject({ code: 0, stderr: expect.stringContaining('belongs to, and can read it') });
  });

  test('a command that the other user cannot execute is 126, with what to do', async () => {
    const result = await sidekey([...asRoot, '--', '/root/nothing'], { cwd: '/' });
    expect(result.code).toBe(126);
    expect(result.stderr).toContain('choose one with --user');
  });
} else {
  test('only root can run an agent as somebody else', async () => {
    const result = await sidekey([...args('--user', 'root'), '--', 'true']);
    expect(result).toMatchObject({ code: 125, stderr: expect.stringContaining('only root') });
  });
}

function runDirs(dir: string): string[] {
  return readdirSync(dir).filter((name) => name.startsWith('sidekey-run-'));
}

async function sessions(): Promise<AdminSession[]> {
  return JSON.parse((await sidekey(['session', 'list', '--dir', folder.path, '-o', 'json'])).stdout);
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = '';
  stream.on('data', (chunk) => {
    text += chunk;
  });
  return () => text;
}

/** The process of sidecar/main.ts that is a child of `parent`. */
function sidecarOf(parent: number): number {
  for (const pid of readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const ppid = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      if (ppid === parent && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('sidecar/main')) return Number(pid);
    } catch {
      // Gone meanwhile.
    }
  }
  throw new Error(`process ${parent} has no sidecar`);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
