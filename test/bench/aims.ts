import type { Path } from './contenders/contender.ts';
import type { Cell } from './results.ts';
import type { Metric, Row } from './rows.ts';

/** What we want of Sidekey: at most or at least so much, or so many times what another contender shows in the same run. */
export interface Aim {
  rows: readonly Row[];
  metric: Metric;
  against?: 'nginx' | 'Envoy';
  atMost?: number;
  atLeast?: number;
}

export const SUBJECT = 'Sidekey';
const LOADED: readonly Row[] = ['keepAlive', 'steady', 'fresh', 'download', 'upload'];

const AIMS: readonly Aim[] = [
  { rows: ['keepAlive', 'steady'], metric: 'cpuMs', against: 'nginx', atMost: 1.5 },
  { rows: ['keepAlive', 'steady'], metric: 'cpuMs', against: 'Envoy', atMost: 0.75 },
  { rows: ['download', 'upload'], metric: 'transferCpuMs', against: 'nginx', atMost: 1.5 },
  { rows: ['download', 'upload'], metric: 'transferCpuMs', against: 'Envoy', atMost: 0.75 },
  { rows: ['fresh'], metric: 'cpuMs', against: 'nginx', atMost: 1.6 },
  { rows: ['steady'], metric: 'addedP50Us', against: 'nginx', atMost: 1.5 },
  { rows: ['download'], metric: 'transferMBs', against: 'nginx', atLeast: 0.8 },
  { rows: ['start'], metric: 'firstAnswerMs', atMost: 250 },
  { rows: ['start'], metric: 'idleMB', atMost: 70 },
  { rows: LOADED, metric: 'peakMB', atMost: 100 },
];

export interface Verdict {
  path: Path;
  row: Row;
  aim: Aim;
  /** The value or the ratio; undefined: it was not measured. */
  value: number | undefined;
  ok: boolean;
}

/** Each aim on each row that was run with Sidekey, the missed ones too. */
export function judge(cells: readonly Cell[], aims: readonly Aim[] = AIMS): Verdict[] {
  const median = (cell: Cell, contender: string, metric: Metric) =>
    cells.find((other) => other.path === cell.path && other.row === cell.row && other.contender === contender)?.metrics[
      metric
    ]?.median;
  return cells
    .filter((cell) => cell.contender === SUBJECT)
    .flatMap((cell) =>
      aims
        .filter((aim) => aim.rows.includes(cell.row))
        .map((aim) => {
          const own = median(cell, SUBJECT, aim.metric);
          const base = aim.against === undefined ? 1 : median(cell, aim.against, aim.metric);
          const value = own === undefined || !base || base < 0 ? undefined : own / base;
          const ok = value !== undefined && value <= (aim.atMost ?? value) && value >= (aim.atLeast ?? value);
          return { path: cell.path, row: cell.row, aim, value, ok };
        }),
    );
}
