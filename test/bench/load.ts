import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pinned } from './child.ts';

const run = promisify(execFile);
const SOURCES = join(import.meta.dirname, 'load');
const CACHE = join(import.meta.dirname, '.cache');
const BINARY = join(CACHE, 'load');

/** How the load generator reaches the upstream through a contender. */
export interface Route {
  /** On 127.0.0.1. */
  readonly port: number;
  readonly via: 'plain' | 'tls' | 'connect';
  /** Host field, if it is not the upstream's authority. */
  readonly host?: string;
  /** In front of the path. */
  readonly prefix?: string;
  /** The credential, for a client that speaks to the upstream itself. */
  readonly bearer?: string;
}

export interface LoadOptions {
  path: string;
  /** host:port of the upstream. */
  authority: string;
  connections?: number;
  seconds: number;
  warmupSeconds?: number;
  /** Requests/s of an open loop. */
  rate?: number;
  /** Most requests. */
  limit?: number;
  /** A new connection for each request. */
  fresh?: boolean;
  /** Until the first 200. */
  retry?: boolean;
  uploadBytes?: number;
  expectBytes: number;
  /** Whose CPU time is counted. */
  pids?: readonly number[];
}

/** What the load generator prints (load/main.c). */
export interface LoadResult {
  requests: number;
  failed: number;
  unanswered: number;
  bytes: number;
  seconds: number;
  cpuMs: number;
  p50Us: number;
  p99Us: number;
  maxUs: number;
  /** CLOCK_MONOTONIC, as process.hrtime.bigint() gives it. */
  lastNs: string;
  failure: string;
}

/** Compiles the load generator if its sources are newer. @throws Error with the compiler's words */
export function buildLoad(): void {
  const sources = readdirSync(SOURCES).map((name) => join(SOURCES, name));
  const builtMs = statSync(BINARY, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (sources.every((file) => statSync(file).mtimeMs < builtMs)) return;
  mkdirSync(CACHE, { recursive: true });
  const files = sources.filter((file) => file.endsWith('.c'));
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-o', BINARY, ...files, '-lssl', '-lcrypto'], { stdio: 'pipe' });
}

/** One run of the load generator on its own core. @throws LoadFailed unless every request got its 200 with a body of the right length */
export async function load(route: Route, options: LoadOptions): Promise<LoadResult> {
  const args = ['--port', route.port, '--via', route.via, '--authority', options.authority];
  args.push('--sni', options.authority.replace(/:\d+$/, ''), '--path', `${route.prefix ?? ''}${options.path}`);
  args.push('--bearer', route.bearer ?? 'what-the-agent-sends-itself');
  args.push('--seconds', options.seconds, '--expect', options.expectBytes);
  if (route.host !== undefined) args.push('--host', route.host);
  if (options.connections !== undefined) args.push('--connections', options.connections);
  if (options.warmupSeconds !== undefined) args.push('--warmup', options.warmupSeconds);
  if (options.rate !== undefined) args.push('--rate', options.rate);
  if (options.limit !== undefined) args.push('--limit', options.limit);
  if (options.fresh) args.push('--fresh');
  if (options.retry) args.push('--retry');
  if (options.uploadBytes !== undefined) args.push('--upload', options.uploadBytes);
  if (options.pids?.length) args.push('--pids', options.pids.join(','));
  const [file, all] = pinned('rest', BINARY, args.map(String));
  const timeout = ((options.warmupSeconds ?? 0) + options.seconds + 15) * 1_000;
  const { stdout } = await run(file, all, { timeout, killSignal: 'SIGKILL' });
  const result: LoadResult = JSON.parse(stdout);
  const wrong = result.failed + result.unanswered;
  if (wrong > 0 || result.requests === 0)
    throw new LoadFailed(
      `${wrong} of ${result.requests + wrong} requests failed: ${result.failure || 'no answer in time'}`,
    );
  return result;
}

class LoadFailed extends Error {}
