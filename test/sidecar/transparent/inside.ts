/**
 * Run as root in new network and mount namespaces (`unshare --net --mount`): makes another network namespace as the world, captures what
 * leaves this one as an injected pod does, and lets an agent of another user try. Prints one JSON object: what each attempt came to.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CAPTURED_PORTS, SIDECAR_ENV, SIDECAR_PATHS, SIDECAR_PORTS, SIDECAR_UID } from '../../../api/pods.ts';
import { NODE_ARGS } from '../../../lib/nodeArgs.ts';
import { createTestCa } from '../../../sidecar/upstream/testkit.ts';
import { ruleset } from '../../../webhook/inject/redirectContainer.ts';
import { TestStore } from '../testStore.ts';
import { BANNER_PORT, COVERED, NOBODY, ODD_PORT, POD, UNCOVERED, WORLD } from './addresses.ts';

const AGENT_UID = 65_534;
const SECRET = 'sk-the-real-key-of-the-test';
const here = (name: string) => new URL(name, import.meta.url).pathname;
const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
const dir = mkdtempSync(join(tmpdir(), 'sidekey-transparent-'));
const world = `sidekey-world-${process.pid}`;
const children: ChildProcess[] = [];
const log: string[] = [];

/** A veth between this namespace and the world; addresses of both families. */
function connectWorld(): void {
  run('ip', 'netns', 'add', world);
  run('ip', 'link', 'set', 'lo', 'up');
  run('ip', 'link', 'add', 'pod0', 'type', 'veth', 'peer', 'name', 'world0', 'netns', world);
  const out = (...args: string[]) => run('nsenter', `--net=/run/netns/${world}`, 'ip', ...args);
  for (const [ip, device, addresses] of [
    [(...args: string[]) => run('ip', ...args), 'pod0', POD],
    [out, 'world0', WORLD],
  ] as const) {
    ip('addr', 'add', `${addresses.v4}/24`, 'dev', device);
    ip('addr', 'add', `${addresses.v6}/64`, 'dev', device, 'nodad');
    ip('link', 'set', device, 'up');
  }
}

/** By the rules that the webhook gives to a pod. */
function capture(ports: readonly number[]): void {
  run('nft', ruleset(ports));
}

/** What a pod's mounts look like to the sidecar, and names of the world in place of DNS. Nothing stays outside of this namespace. */
function mountFiles(): void {
  run('mount', '-t', 'tmpfs', 'tmpfs', '/var/run');
  mkdirSync('/var/run/sidekey');
  for (const path of [SIDECAR_PATHS.privateDir, SIDECAR_PATHS.publicDir]) {
    mkdirSync(path);
    chmodSync(path, 0o777);
  }
  const hosts = join(dir, 'hosts');
  const lines = (['v4', 'v6'] as const).map((family) => `${WORLD[family]} ${COVERED[family]} ${UNCOVERED[family]}`);
  writeFileSync(hosts, `127.0.0.1 localhost\n::1 localhost\n${lines.join('\n')}\n`);
  run('mount', '--bind', hosts, '/etc/hosts');
}

async function startWorld(ca: ReturnType<typeof createTestCa>): Promise<void> {
  const { cert, key } = ca.issue({ dnsNames: [...Object.values(COVERED), ...Object.values(UNCOVERED)] });
  writeFileSync(join(dir, 'key.pem'), key);
  writeFileSync(join(dir, 'cert.pem'), cert);
  const args = [
    `--net=/run/netns/${world}`,
    process.execPath,
    here('world.ts'),
    join(dir, 'key.pem'),
    join(dir, 'cert.pem'),
  ];
  const child = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await once(child.stdout!, 'data');
}

async function inviteSidecar(store: TestStore): Promise<void> {
  const file = join(dir, 'join');
  writeFileSync(file, (await store.bootstrap()).joinToken);
  chownSync(file, SIDECAR_UID, SIDECAR_UID);
}

function startSidecar(store: TestStore, caPem: string): ChildProcess {
  const who = [
    '--reuid',
    `${SIDECAR_UID}`,
    '--regid',
    `${SIDECAR_UID}`,
    '--clear-groups',
    '--no-new-privs',
    '--inh-caps=-all',
  ];
  const command = [process.execPath, ...NODE_ARGS.sidecar, here('podSidecar.ts'), join(dir, 'join')];
  const { storeUrl, trustBundlePem } = store.process;
  const child = spawn('setpriv', [...who, ...command], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      PATH: process.env.PATH,
      [SIDECAR_ENV.storeUrl]: storeUrl,
      [SIDECAR_ENV.trustBundle]: trustBundlePem,
      [SIDECAR_ENV.capturePorts]: [...CAPTURED_PORTS, BANNER_PORT].join(),
      [SIDECAR_ENV.extraCa]: caPem,
    },
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => log.push(text));
  children.push(child);
  return child;
}

export interface Attempt {
  code: number | null;
  out: string;
  error: string;
  seconds: number;
}

/** A command as the agent. */
async function asAgent(...command: string[]): Promise<Attempt> {
  const who = ['--reuid', `${AGENT_UID}`, '--regid', `${AGENT_UID}`, '--clear-groups'];
  const atMs = performance.now();
  const child = spawn('setpriv', [...who, ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH },
  });
  let out = '';
  let error = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    error += text;
  });
  const [code] = await once(child, 'close');
  return { code, out, error, seconds: (performance.now() - atMs) / 1_000 };
}

const curl = (...args: string[]) => asAgent('curl', '--silent', '--show-error', '--max-time', '15', ...args);
/** Connects, and reads to the end. */
const listenTo = (address: string, port: number) =>
  asAgent('timeout', '10', 'bash', '-c', `cat < /dev/tcp/${address}/${port}`);

async function until(check: () => Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + 10_000; performance.now() < endMs; ) {
    if (await check().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`waited in vain: ${log.join('')}`);
}

const healthy = async () => (await fetch(`http://${POD.v4}:${SIDECAR_PORTS.health}/healthz`)).ok;
/** The agent resolves the name to where nobody is. */
const elsewhere = (name: string, port: number, family: 'v4' | 'v6') => [
  '--resolve',
  `${name}:${port}:${family === 'v4' ? NOBODY.v4 : `[${NOBODY.v6}]`}`,
];

async function attempts(
  store: TestStore,
  ca: ReturnType<typeof createTestCa>,
): Promise<Record<string, Attempt | object>> {
  const bundle = SIDECAR_PATHS.bundleFile;
  const results: Record<string, Attempt | object> = {};
  // The store is away when sidecar and agent start, and comes within the time that requests wait.
  await inviteSidecar(store);
  const held = join(dir, 'join.later');
  run('mv', join(dir, 'join'), held);
  const sidecar = startSidecar(store, ca.pem);
  await until(healthy);
  const first = curl('--cacert', bundle, `https://${COVERED.v4}/first`);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  run('mv', held, join(dir, 'join'));
  results.first = await first;
  for (const family of ['v4', 'v6'] as const) {
    const [covered, uncovered] = [COVERED[family], UNCOVERED[family]];
    const literal = family === 'v4' ? WORLD.v4 : `[${WORLD.v6}]`;
    results[`tls ${family}`] = await curl('--cacert', bundle, `https://${covered}/x`);
    results[`http ${family}`] = await curl(`http://${covered}/x`);
    results[`tls elsewhere ${family}`] = await curl(
      ...elsewhere(covered, 443, family),
      '--cacert',
      bundle,
      `https://${covered}/x`,
    );
    results[`tls uncovered ${family}`] = await curl('--cacert', bundle, `https://${uncovered}/x`);
    results[`http uncovered ${family}`] = await curl(`http://${uncovered}/x`);
    results[`tls nameless ${family}`] = await curl('--insecure', `https://${literal}/x`);
    results[`banner ${family}`] = await listenTo(WORLD[family], BANNER_PORT);
    results[`not captured ${family}`] = await curl('--insecure', `https://${covered}:${ODD_PORT}/x`);
    results[`disagree ${family}`] = await curl(
      '--cacert',
      bundle,
      '--header',
      `Host: ${uncovered}`,
      '--write-out',
      '%{http_code} %header{sidekey-error}',
      `https://${covered}/x`,
    );
  }
  for (const family of ['v4', 'v6'] as const) {
    const request = `GET /slow HTTP/1.1\\r\\nHost: ${COVERED[family]}\\r\\n\\r\\n`;
    // It sends, and is gone half a second later.
    await asAgent('bash', '-c', `exec 3<>/dev/tcp/${WORLD[family]}/80; printf '${request}' >&3; sleep 0.5`);
  }
  await until(async () => JSON.parse((await curl(`http://${UNCOVERED.v4}/`)).out).givenUp === 2);
  results['tls real certificate'] = await curl('--cacert', join(dir, 'ca.pem'), `https://${UNCOVERED.v4}/x`);
  const before = readFileSync(bundle, 'utf8');
  sidecar.kill('SIGKILL');
  await once(sidecar, 'exit');
  await inviteSidecar(store);
  const again = startSidecar(store, ca.pem);
  await until(healthy);
  results['after a restart'] = await curl('--cacert', bundle, `https://${COVERED.v4}/x`);
  const { privateDir, publicDir, trustStoreFile } = SIDECAR_PATHS;
  results.files = {
    modes: [privateDir, publicDir].flatMap((path) =>
      readdirSync(path)
        .sort()
        .map((name) => {
          const { mode, uid } = statSync(join(path, name));
          return `${name} ${(mode & 0o777).toString(8)} ${uid}`;
        }),
    ),
    trustStore: readFileSync(trustStoreFile).subarray(0, 4).toString('hex'),
  };
  results.bundle = { same: readFileSync(bundle, 'utf8') === before };
  results.sidecar = {
    uid: Number(/Uid:\s+(\d+)/.exec(readFileSync(`/proc/${again.pid}/status`, 'utf8'))?.[1]),
  };
  return results;
}

let store: TestStore | undefined;
try {
  chmodSync(dir, 0o777);
  mountFiles();
  connectWorld();
  capture([...CAPTURED_PORTS, BANNER_PORT]);
  const ca = createTestCa('world');
  writeFileSync(join(dir, 'ca.pem'), ca.pem);
  await startWorld(ca);
  store = await TestStore.start();
  const hosts = Object.values(COVERED);
  await store.credential({ hosts: hosts.flatMap((host) => [host, `${host}:80`]) });
  await store.material(SECRET);
  const allowedNetworks = ['198.51.100.0/24', '2001:db8::/32'];
  await store.integration({
    hosts: hosts.flatMap((host) => [host, `${host}:80`]),
    allowPlaintext: true,
    allowedNetworks,
  });
  const results = await attempts(store, ca);
  console.log(JSON.stringify({ results, log }));
} finally {
  for (const child of children) child.kill('SIGKILL');
  await store?.stop();
  run('ip', 'netns', 'delete', world);
  rmSync(dir, { recursive: true, force: true });
}
