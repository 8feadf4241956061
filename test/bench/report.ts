import { type Aim, SUBJECT, type Verdict } from './aims.ts';
import type { Path } from './contenders/contender.ts';
import type { Cell, Summary } from './results.ts';
import { METRICS, type Metric, PATH_TITLES, ROW_METRICS, ROW_TITLES, type Row } from './rows.ts';

const LABEL_WIDTH = 22;
const CELL_WIDTH = 15;

export interface ReportInput {
  contenders: readonly string[];
  paths: readonly Path[];
  rows: readonly Row[];
  cells: readonly Cell[];
  verdicts: readonly Verdict[];
  cut: readonly string[];
  /** Contenders that could not take part, with the reason. */
  absent: ReadonlyMap<string, string>;
}

/** The whole result as text: every row, the bad ones too, medians with half the distance between best and worst round. */
export function report(input: ReportInput): string {
  const lines: string[] = [];
  for (const path of input.paths) {
    lines.push('', PATH_TITLES[path]);
    if (path === 'intercept')
      lines.push(
        '(nginx, haproxy and Envoy: a TLS listener with a fixed certificate stands in, which spares them the CONNECT)',
      );
    lines.push(
      [''.padEnd(LABEL_WIDTH), ...input.contenders.map((name) => name.padStart(CELL_WIDTH)), '  aims'].join(''),
    );
    for (const row of input.rows) {
      lines.push(`  ${ROW_TITLES[row]}`);
      for (const metric of ROW_METRICS[row]) lines.push(metricLine(input, path, row, metric));
    }
  }
  lines.push('', ...notes(input));
  return lines.join('\n');
}

function metricLine(input: ReportInput, path: Path, row: Row, metric: Metric): string {
  const cells = input.contenders.map((contender) => {
    const cell = input.cells.find((one) => one.path === path && one.row === row && one.contender === contender);
    const summary = cell?.metrics[metric];
    if (summary !== undefined) return number(summary) + (cell!.failures.length > 0 ? '!' : '');
    if (cell !== undefined && cell.failures.length > 0) return 'failed';
    return input.absent.has(contender) ? 'absent' : '–';
  });
  const aims = input.verdicts
    .filter((verdict) => verdict.path === path && verdict.row === row && verdict.aim.metric === metric)
    .map(verdictText);
  const label = `    ${METRICS[metric]}`.padEnd(LABEL_WIDTH);
  return [label, ...cells.map((cell) => cell.padStart(CELL_WIDTH)), aims.length > 0 ? `  ${aims.join(', ')}` : ''].join(
    '',
  );
}

function number({ median, min, max, rounds }: Summary): string {
  const digits = Math.abs(median) >= 100 ? 0 : 1;
  const spread = rounds > 1 ? ` ±${((max - min) / 2).toFixed(digits)}` : '';
  return median.toFixed(digits) + spread;
}

function verdictText({ aim, value, ok }: Verdict): string {
  const bound = bounds(aim);
  const other = aim.against === undefined ? '' : ` × ${aim.against}`;
  if (value === undefined) return `${bound}${other}: not measured`;
  const shown = aim.against === undefined ? '' : `${value.toFixed(2)}${other} `;
  return `${shown}(${bound}) ${ok ? 'ok' : 'SHORT'}`;
}

function bounds(aim: Aim): string {
  return aim.atMost !== undefined ? `≤ ${aim.atMost}` : `≥ ${aim.atLeast}`;
}

function notes(input: ReportInput): string[] {
  const lines: string[] = [];
  for (const [contender, reason] of input.absent) lines.push(`${contender} is absent: ${reason}`);
  for (const { path, row, contender, failures } of input.cells)
    for (const failure of failures) lines.push(`${contender}, ${path}, ${row}: ${failure}`);
  if (input.cut.length > 0) lines.push(`not measured, for the time was up: ${input.cut.join('; ')}`);
  const short = input.verdicts.filter((verdict) => !verdict.ok).length;
  if (input.verdicts.length > 0) lines.push(`${SUBJECT}: ${input.verdicts.length - short} aims met, ${short} short`);
  return lines;
}
