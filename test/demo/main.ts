import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Git } from '../upstreams/git.ts';
import { OpenAi } from '../upstreams/openai.ts';
import { Stripe } from '../upstreams/stripe.ts';
import { createUpstreamCa } from '../upstreams/tls.ts';
import { Internet } from './internet.ts';
import { Narrator } from './narrator.ts';
import { OBJECTS } from './objects.ts';
import { Processes } from './processes.ts';
import { processTree, scanFiles, scanProcess } from './processScan.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const SIDEKEY = join(ROOT, 'bin/sidekey');
/** Whom `sidekey run` makes the agent when root starts it. */
const NOBODY = 65_534;
const CHAT_AGENT = join(import.meta.dirname, 'agents/chat.ts');

/** Keys as the vendors shape them, new for each run. */
const KEYS = {
  openai: `sk-proj-${randomBytes(24).toString('hex')}`,
  openaiNext: `sk-proj-${randomBytes(24).toString('hex')}`,
  stripe: `sk_test_${randomBytes(24).toString('hex')}`,
  github: `ghp_${randomBytes(18).toString('hex')}`,
};

const startedAtMs = performance.now();
const tell = new Narrator();
let processes: Processes | undefined;
let interrupted = false;
// The terminal tells every process of the group; those that have a session of their own are stopped by us.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (interrupted) return;
    interrupted = true;
    tell.lastWord('interrupted: stopping what was started');
    void processes?.stop();
  });
}
const dir = mkdtempSync(join(tmpdir(), 'sidekey-demo-'));
const folder = join(dir, 'objects');
const workDir = join(dir, 'agent');
const closers: (() => void | Promise<void>)[] = [() => rmSync(dir, { recursive: true, force: true })];

try {
  await demo();
} catch (error) {
  tell.check('the demo ran to its end', false, error instanceof Error ? error.message : String(error));
} finally {
  for (const close of closers.reverse()) await close();
}
const held = tell.sumUp((performance.now() - startedAtMs) / 1000);
if (interrupted) process.exit(130);
process.exit(held ? 0 : 1);

async function demo(): Promise<void> {
  const ca = createUpstreamCa();
  const openai = new OpenAi({ key: KEYS.openai, tls: ca.issue(['api.openai.com']) });
  const stripe = new Stripe({ key: KEYS.stripe, tls: ca.issue(['api.stripe.com']) });
  const git = new Git({ token: KEYS.github, tls: ca.issue(['github.com']) });
  for (const upstream of [openai, stripe, git]) {
    closers.push(() => upstream.close());
    await upstream.start();
  }
  const internet = new Internet(
    new Map([
      ['api.openai.com', openai.port],
      ['api.stripe.com', stripe.port],
      ['github.com', git.port],
    ]),
  );
  const proxy = await internet.start();
  closers.push(() => internet.close());

  mkdirSync(folder);
  mkdirSync(workDir);
  if (process.getuid?.() === 0) {
    chmodSync(dir, 0o711);
    chownSync(workDir, NOBODY, NOBODY);
  }
  const caFile = join(dir, 'look-alike-ca.pem');
  writeFileSync(caFile, ca.pem);
  writeFileSync(join(folder, 'apis.yaml'), OBJECTS);
  const started = new Processes({ env: agentEnvironment(proxy), cwd: workDir });
  processes = started;
  closers.push(() => started.stop());
  if (interrupted) return;
  const sidekey = (...args: string[]) => started.run([SIDEKEY, ...args]);
  const asAgent = (tags: readonly string[], ...command: string[]) => [
    SIDEKEY,
    ...['run', '--dir', folder, '--extra-ca', caFile],
    ...tags.flatMap((tag) => ['--tag', tag]),
    '--',
    ...command,
  ];
  const secrets = Object.values(KEYS).map((key) => Buffer.from(key));

  tell.title('1. Three APIs that refuse a wrong key');
  tell.say(
    'Look-alikes of api.openai.com, api.stripe.com and github.com on this machine; an HTTPS_PROXY leads there, as in a company.',
  );
  const bare = await started.run([
    'curl',
    '-sS',
    '--cacert',
    caFile,
    '-H',
    'Authorization: Bearer sk-wrong',
    'https://api.openai.com/v1/models',
  ]);
  tell.check('a wrong key is refused by the API', bare.stdout.includes('invalid_api_key'), bare.stdout + bare.stderr);

  tell.title('2. Store and operator');
  tell.command(`sidekey up ${folder}`);
  const up = started.talk([SIDEKEY, 'up', folder, '-o', 'json']);
  await up.next();
  for (const [name, key] of [
    ['openai-key', KEYS.openai],
    ['stripe-key', KEYS.stripe],
    ['github-token', KEYS.github],
  ] as const) {
    tell.command(`sidekey credential set ${name} < …`);
    const set = await started.run([SIDEKEY, 'credential', 'set', name, '--dir', folder], { input: key });
    tell.check(`${name} is in the encrypted store`, set.code === 0, set.stderr);
  }
  const table = await settled(() => sidekey('get', '--dir', folder));
  for (const line of table.stdout.trimEnd().split('\n')) tell.say(line);
  const stored = scanFiles(folder, secrets);
  tell.check(
    `none of the ${stored.files} files of store and objects has a key in the clear`,
    stored.findings.length === 0,
    stored.findings.join(', '),
  );

  tell.title('3. An agent with the openai SDK');
  const chat = asAgent(['llm'], process.execPath, CHAT_AGENT);
  tell.command(`sidekey run --tag llm -- node ${CHAT_AGENT.slice(ROOT.length + 1)}`);
  const agent = started.talk(chat);
  const { pid, key } = JSON.parse(await agent.next()) as { pid: number; key: string };
  tell.say(`the agent's OPENAI_API_KEY is ${key}`);
  agent.say('What do you hold?');
  const first = await agent.next();
  tell.say(`it was answered, token by token: ${first}`);
  tell.check('the API saw the real key', openai.lastKey === KEYS.openai && first.includes('"answer"'), first);
  const moved = await rotate(agent, openai, started);
  tell.check('the key was rotated while the agent ran: its next request carried the new one', moved.held, moved.found);
  inspectAgent(pid, secrets);

  tell.title('4. What the rules do not allow');
  const denied = await started.run(asAgent(['llm'], 'curl', '-sS', '-i', 'https://api.openai.com/v1/files'));
  tell.command('sidekey run --tag llm -- curl https://api.openai.com/v1/files');
  tell.say(denied.stdout.trim().split('\n').at(-1) ?? '');
  tell.check(
    'the denied path gets 403 and its reason, and never reaches the API',
    /sidekey-error: RuleDenied/i.test(denied.stdout) && !openai.paths.includes('/v1/files'),
    denied.stdout + denied.stderr,
  );
  const other = await started.run(
    asAgent(['llm'], 'curl', '-sS', '-u', 'sk-wrong:', 'https://api.stripe.com/v1/balance', '--cacert', caFile),
  );
  tell.check(
    'an agent without the tag gets no key: the API itself refuses it',
    other.stdout.includes('Invalid API Key') && stripe.lastKey !== KEYS.stripe,
    other.stdout + other.stderr,
  );

  tell.title('5. An agent with curl');
  tell.command('sidekey run --tag payments -- curl https://api.stripe.com/v1/balance');
  const balance = await started.run(asAgent(['payments'], 'curl', '-sS', 'https://api.stripe.com/v1/balance'));
  tell.say(balance.stdout.replaceAll(/\s+/g, ' ').slice(0, 100));
  tell.check(
    'the API saw the real key by Basic authentication',
    stripe.lastKey === KEYS.stripe && balance.stdout.includes('available'),
    balance.stdout + balance.stderr,
  );

  tell.title('6. An agent with git');
  const repository = join(workDir, 'web');
  tell.command('sidekey run --tag code -- git clone https://github.com/acme/web.git');
  const clone = await started.run(
    asAgent(['code'], 'git', 'clone', '-q', 'https://github.com/acme/web.git', repository),
  );
  tell.check('git cloned', clone.code === 0, clone.stderr);
  writeFileSync(join(repository, 'agent.txt'), 'written by an agent without a token\n');
  await started.run(['git', '-C', repository, 'add', 'agent.txt']);
  await started.run([
    'git',
    '-C',
    repository,
    '-c',
    'user.name=agent',
    '-c',
    'user.email=agent@example.com',
    'commit',
    '-qm',
    'Add a file',
  ]);
  tell.command('sidekey run --tag code -- git push');
  const push = await started.run(asAgent(['code'], 'git', '-C', repository, 'push', '-q', 'origin', 'HEAD'));
  tell.check('git pushed with the real token', push.code === 0 && git.lastToken === KEYS.github, push.stderr);
  const files = scanFiles(workDir, secrets);
  tell.check(
    `none of the ${files.files} files that the agents left holds a key`,
    files.findings.length === 0,
    files.findings.join(', '),
  );

  tell.title('7. The audit');
  tell.command('sidekey audit verify');
  const audit = await sidekey('audit', 'verify', '--dir', folder);
  tell.say(audit.stdout.trim());
  tell.check('the audit verifies', audit.code === 0, audit.stderr);
  await up.stop();
}

/** Sets the new key on both sides while the agent runs, and lets it ask once more. */
async function rotate(
  agent: { say(line: string): void; next(): Promise<string> },
  openai: OpenAi,
  processes: Processes,
): Promise<{ held: boolean; found: string }> {
  tell.command('sidekey credential set openai-key < …   # while the agent runs');
  openai.key = KEYS.openaiNext;
  await processes.run([SIDEKEY, 'credential', 'set', 'openai-key', '--dir', folder], { input: KEYS.openaiNext });
  agent.say('And now?');
  const found = await agent.next();
  return { held: openai.lastKey === KEYS.openaiNext && found.includes('"answer"'), found };
}

function inspectAgent(pid: number, secrets: readonly Buffer[]): void {
  if (process.platform !== 'linux') {
    tell.say('LEFT OUT: looking into the memory of the agent needs /proc, which this platform does not have');
    return;
  }
  const scans = processTree(pid).map((one) => scanProcess(one, secrets));
  const megabytes = Math.round(scans.reduce((sum, scan) => sum + scan.memoryBytes, 0) / 1024 / 1024);
  const findings = scans.flatMap((scan) => scan.findings);
  tell.check(
    `environment, arguments and ${megabytes} MB of memory of the agent hold none of the keys`,
    findings.length === 0 && megabytes > 0,
    JSON.stringify(findings),
  );
}

/** Waits until everything in a table is ready. */
async function settled<R extends { stdout: string }>(look: () => Promise<R>): Promise<R> {
  for (let i = 0; ; i += 1) {
    const result = await look();
    if ((!/False|Unknown/.test(result.stdout) && result.stdout !== '') || i === 20) return result;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** What the person who runs this demo has, less whatever could lead elsewhere. */
function agentEnvironment(proxy: string): NodeJS.ProcessEnv {
  return {
    PATH: `${dirname(process.execPath)}:${process.env.PATH}`,
    HOME: workDir,
    HTTPS_PROXY: proxy,
    GIT_TERMINAL_PROMPT: '0',
    GIT_CONFIG_NOSYSTEM: '1',
    NO_COLOR: '1',
  };
}
