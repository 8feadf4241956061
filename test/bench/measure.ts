import { setTimeout as delay } from 'node:timers/promises';
import { processTree, resetPeaks, residentMB } from './child.ts';
import type { Path, Running } from './contenders/contender.ts';
import { type LoadOptions, type LoadResult, load } from './load.ts';
import type { Metrics } from './results.ts';
import type { Effort, Row } from './rows.ts';
import { SMALL, TRANSFER_BYTES, UPLOADED, type Upstream } from './upstream.ts';

const START_LIMIT_SECONDS = 15;
/** Before idle memory is read: what a start leaves behind has been collected or has not. */
const SETTLE_MS = 500;

const SMALL_REQUEST = { path: '/small', expectBytes: SMALL.length };

/** Waits for the first 200. Returns when it came, in ms after the process was started. @throws Error with what the process said */
export async function firstAnswer(running: Running, path: Path, upstream: Upstream): Promise<number> {
  try {
    const options = { ...SMALL_REQUEST, authority: upstream.authority, seconds: START_LIMIT_SECONDS, retry: true };
    const result = await load(running.route(path), options);
    return Number(BigInt(result.lastNs) - running.startedNs) / 1e6;
  } catch (error) {
    throw new Error([error instanceof Error ? error.message : String(error), running.said].filter(Boolean).join('; '));
  }
}

/** Memory of a contender that has answered once and has nothing to do. */
export async function idleMB(running: Running): Promise<number | undefined> {
  if (running.pid === undefined) return undefined;
  await delay(SETTLE_MS);
  return residentMB(processTree(running.pid), 'VmRSS');
}

/** One row of one contender, once. @throws LoadFailed */
export async function measure(
  row: Exclude<Row, 'start'>,
  running: Running,
  path: Path,
  upstream: Upstream,
  effort: Effort,
): Promise<Metrics> {
  const pids = running.pid === undefined ? [] : processTree(running.pid);
  resetPeaks(pids);
  const result = await load(running.route(path), {
    ...loadFor(row, path, effort),
    authority: upstream.authority,
    pids,
  });
  const metrics: Metrics = ratesOf(row, result);
  if (pids.length === 0) return metrics;
  const peakMB = residentMB(pids, 'VmHWM');
  const moved = row === 'download' || row === 'upload';
  return moved
    ? { ...metrics, transferCpuMs: result.cpuMs / result.requests, peakMB }
    : { ...metrics, cpuMs: (result.cpuMs * 1_000) / result.requests, peakMB };
}

function loadFor(row: Exclude<Row, 'start'>, path: Path, effort: Effort): Omit<LoadOptions, 'authority' | 'pids'> {
  const warm = { warmupSeconds: effort.warmupSeconds, connections: 32 };
  const moved = { connections: 1, limit: effort.transfers, seconds: 20 };
  switch (row) {
    case 'keepAlive':
      return { ...SMALL_REQUEST, ...warm, seconds: effort.keepAliveSeconds };
    case 'steady':
      return { ...SMALL_REQUEST, ...warm, seconds: effort.steadySeconds, rate: 500 };
    case 'fresh':
      return { ...SMALL_REQUEST, connections: 8, fresh: true, limit: effort.freshRequests[path], seconds: 10 };
    case 'download':
      return { ...moved, path: '/download', expectBytes: TRANSFER_BYTES };
    case 'upload':
      return { ...moved, path: '/upload', uploadBytes: TRANSFER_BYTES, expectBytes: UPLOADED.length };
  }
}

function ratesOf(row: Row, result: LoadResult): Metrics {
  if (row === 'steady') return { p50Us: result.p50Us, p99Us: result.p99Us };
  if (row === 'download' || row === 'upload') return { transferMBs: result.bytes / 1e6 / result.seconds };
  return { requestsPerSecond: result.requests / result.seconds };
}
