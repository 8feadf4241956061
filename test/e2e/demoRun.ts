import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { portOwner } from '../../lib/portOwner.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
/** State LISTEN in /proc/net/tcp. */
const LISTEN = '0A';

/** `make demo` in a process group and with a directory for temporary files of its own, as if typed into a terminal. */
export class DemoRun {
  readonly #child: ChildProcess;
  /** Also what its processes are known by: it is on their PATH. */
  readonly #tmp = mkdtempSync(join(tmpdir(), 'sidekey-demo-test-'));
  readonly ended: Promise<number | null>;
  /** What it has printed. */
  output = '';
  #changed: () => void = () => {};

  constructor() {
    // Agents are nobody if root runs this, and have a directory in it.
    chmodSync(this.#tmp, 0o711);
    // What is installed is as it should be, or these tests would not run: nothing is installed in their midst.
    this.#child = spawn('make', ['-o', 'node_modules/.package-lock.json', 'demo'], {
      cwd: ROOT,
      env: { HOME: process.env.HOME, PATH: `${process.env.PATH}:${this.#tmp}`, TMPDIR: this.#tmp },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
        this.#changed();
      });
    }
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code) => {
        resolve(code);
        this.#changed();
      });
    });
  }

  /** @throws Error if it ends without having printed `text` */
  async printed(text: string): Promise<void> {
    while (!this.output.includes(text)) {
      if (this.#child.exitCode !== null) throw new Error(`it ended before it printed ${text}:\n${this.output}`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  /** Ctrl-C: the terminal tells every process of the group. */
  interrupt(): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) process.kill(-this.#child.pid!, 'SIGINT');
  }

  /** Its processes, the agents of another user and what has a session of its own included. */
  processes(): number[] {
    return readdirSync('/proc')
      .filter((name) => /^[0-9]+$/.test(name) && textOf(`/proc/${name}/environ`).includes(this.#tmp))
      .map(Number);
  }

  /** Ports that its processes listen on. */
  ports(): number[] {
    const sockets = new Set(this.processes().flatMap(socketsOf));
    return textOf('/proc/net/tcp')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, , , state, , , , , , inode]) => state === LISTEN && sockets.has(`socket:[${inode}]`))
      .map(([, local]) => Number.parseInt(local!.slice(local!.indexOf(':') + 1), 16));
  }

  /** What it has left of processes, files, and of `ports`. */
  leftovers(ports: readonly number[]): string[] {
    return [
      ...this.processes().map((pid) => `process ${textOf(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`),
      ...readdirSync(this.#tmp).map((name) => `file ${name}`),
      ...ports.filter((port) => portOwner(port) !== undefined).map((port) => `port ${port}`),
    ];
  }

  remove(): void {
    for (const pid of this.processes()) process.kill(pid, 'SIGKILL');
    rmSync(this.#tmp, { recursive: true, force: true });
  }
}

/** Empty for what is gone, or not ours to see. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function socketsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  } catch {
    return [];
  }
}
