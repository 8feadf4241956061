import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { StatusFile } from '../../api/statusFile.ts';

export const SIDEKEY = fileURLToPath(new URL('../../bin/sidekey', import.meta.url));

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface SidekeyOptions {
  cwd?: string;
  input?: string | Buffer;
  env?: Record<string, string>;
}

/** The environment of tests: nothing of the person's or machine's that changes what is tested. */
export function cleanEnv(more: Record<string, string> = {}): NodeJS.ProcessEnv {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, ...(TMPDIR !== undefined && { TMPDIR }), ...more };
}

/** `bin/sidekey` as a process that runs to its end. */
export async function sidekey(args: readonly string[], options: SidekeyOptions = {}): Promise<Ended> {
  const child = startSidekey(args, options);
  child.stdin!.on('error', () => {}); // It may not read.
  child.stdin!.end(options.input ?? '');
  return ended(child);
}

export function startSidekey(args: readonly string[], options: SidekeyOptions = {}): ChildProcess {
  return spawn(SIDEKEY, args, {
    cwd: options.cwd,
    env: cleanEnv(options.env),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

export async function ended(child: ChildProcess): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, stdout, stderr };
}

/** A folder in a temporary directory, with files. */
export class TestFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'sidekey-cli-'));

  write(name: string, text: string): string {
    const path = join(this.path, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return path;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

type Event = { event: string; status?: StatusFile } & Record<string, unknown>;

/** `sidekey up` on a folder, for programs. */
export class Up {
  readonly child: ChildProcess;
  readonly events: Event[] = [];
  stderr = '';
  #changed: () => void = () => {};

  private constructor(child: ChildProcess) {
    this.child = child;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      this.events.push(JSON.parse(line));
      this.#changed();
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    child.once('close', () => this.#changed());
  }

  /** Resolves once it serves and the operator has looked at the folder. */
  static async start(folder: string, args: readonly string[] = [], options: SidekeyOptions = {}): Promise<Up> {
    const up = await Up.serving(folder, args, options);
    await up.until(({ event }) => event === 'status');
    return up;
  }

  /** Resolves once it serves. */
  static async serving(folder: string, args: readonly string[] = [], options: SidekeyOptions = {}): Promise<Up> {
    const up = new Up(startSidekey(['up', folder, '-o', 'json', ...args], options));
    await up.until(({ event }) => event === 'ready');
    return up;
  }

  /** The first event, also of those that came already, for which `wanted` holds. */
  async until(wanted: (event: Event) => boolean): Promise<Event> {
    for (;;) {
      const found = this.events.find(wanted);
      if (found !== undefined) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`sidekey up ended with ${this.child.exitCode ?? this.child.signalCode}: ${this.stderr}`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  /** All objects are Ready. */
  ready(objects: number): Promise<Event> {
    return this.until(
      ({ status }) =>
        status?.objects.length === objects &&
        status.objects.every((object) => object.status.conditions[0]?.status === 'True'),
    );
  }

  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    const closed = once(this.child, 'close');
    this.child.kill(signal);
    await closed;
    return this.child.exitCode;
  }
}
