import { PATHS, type Path } from './contenders/contender.ts';

/** What is measured on each path, in the order of a round. */
const ROWS = ['start', 'keepAlive', 'steady', 'fresh', 'download', 'upload'] as const;
export type Row = (typeof ROWS)[number];

export const ROW_TITLES: Record<Row, string> = {
  start: 'start, then idle',
  keepAlive: '32 keep-alive connections, closed loop',
  steady: '500 requests/s, open loop',
  fresh: 'a new client connection for each request',
  download: '100 MB down',
  upload: '100 MB up',
};

export const PATH_TITLES: Record<Path, string> = {
  baseURL: 'Base URL: http:// to the proxy, TLS to the upstream',
  intercept: 'CONNECT and interception: TLS in a tunnel through the proxy, TLS to the upstream',
};

export const METRICS = {
  firstAnswerMs: 'first 200 after, ms',
  idleMB: 'RSS idle, MB',
  requestsPerSecond: 'requests/s',
  cpuMs: 'CPU ms per 1,000',
  addedP50Us: 'added p50, µs',
  addedP99Us: 'added p99, µs',
  p50Us: 'p50, µs',
  p99Us: 'p99, µs',
  transferMBs: 'MB/s',
  transferCpuMs: 'CPU ms per 100 MB',
  peakMB: 'RSS peak, MB',
} as const;
export type Metric = keyof typeof METRICS;

/** What each row gives, in the order of the report. */
export const ROW_METRICS: Record<Row, readonly Metric[]> = {
  start: ['firstAnswerMs', 'idleMB'],
  keepAlive: ['requestsPerSecond', 'cpuMs', 'peakMB'],
  steady: ['p50Us', 'p99Us', 'addedP50Us', 'addedP99Us', 'cpuMs', 'peakMB'],
  fresh: ['requestsPerSecond', 'cpuMs', 'peakMB'],
  download: ['transferMBs', 'transferCpuMs', 'peakMB'],
  upload: ['transferMBs', 'transferCpuMs', 'peakMB'],
};

/** How long and how often. */
export interface Effort {
  rounds: number;
  starts: number;
  keepAliveSeconds: number;
  steadySeconds: number;
  warmupSeconds: number;
  freshRequests: Record<Path, number>;
  transfers: number;
  /** The bench stops measuring then; what is missing is said. */
  budgetSeconds: number;
}

export const FULL: Effort = {
  rounds: 3,
  starts: 5,
  keepAliveSeconds: 3,
  steadySeconds: 4,
  warmupSeconds: 0.5,
  freshRequests: { baseURL: 6_000, intercept: 3_000 },
  transfers: 5,
  budgetSeconds: 660,
};

export const QUICK: Effort = {
  rounds: 2,
  starts: 3,
  keepAliveSeconds: 1.5,
  steadySeconds: 2,
  warmupSeconds: 0.3,
  freshRequests: { baseURL: 2_000, intercept: 1_000 },
  transfers: 2,
  budgetSeconds: 160,
};

/** @throws Error on a word that is neither a row nor a path */
export function selectRows(words: string): { rows: readonly Row[]; paths: readonly Path[] } {
  const chosen = words.split(',').filter((word) => word !== '');
  const rows = ROWS.filter((row) => chosen.includes(row));
  const paths = PATHS.filter((path) => chosen.includes(path));
  const unknown = chosen.filter((word) => ![...ROWS, ...PATHS].some((known) => known === word));
  if (unknown.length > 0)
    throw new Error(`no row ${unknown.join(', ')}; rows are ${ROWS.join(', ')}, paths are ${PATHS.join(', ')}`);
  return { rows: rows.length > 0 ? rows : ROWS, paths: paths.length > 0 ? paths : PATHS };
}
