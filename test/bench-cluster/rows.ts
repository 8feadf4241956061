/** What is measured, in the order of the table, with the aim that is set for it. */
export const ROWS = {
  startPlain: { title: 'pod created → first instruction, without label' },
  startLabelled: { title: 'pod created → first instruction, with label' },
  startAdded: { title: 'added to pod start by the sidecar' },
  startAnswered: { title: 'pod created → first credentialed answer' },
  createPlain: { title: 'creation of a pod, 20/s, without label' },
  createLabelled: { title: 'creation of a pod, 20/s, with label', aim: 'p99 ≤ 50 ms' },
  createCall: { title: '  of it the call of the webhook (API server)' },
  createReview: { title: '  of it the review (webhook)' },
  propagation: { title: 'changed Secret → request of a running agent', aim: 'p99 < 1 s' },
  propagationFailed: { title: '  requests that failed meanwhile', aim: 'none' },
  rolloutAdmission: { title: 'rollout: admissions that failed', aim: 'none' },
  rolloutFirst: { title: 'rollout: first requests that failed', aim: 'none' },
  rolloutTime: { title: 'rollout: time' },
  scaleStart: { title: 'operator: start until everything is Ready' },
  scaleMemory: { title: 'operator: resident memory, steady', aim: '≤ 300 MB' },
  scaleRound: { title: 'operator: a round' },
  scaleChange: { title: 'changed Secret → sidecars are told', aim: 'p99 < 1 s' },
  scaleBurst: { title: 'all Secrets of a namespace changed at once' },
} as const satisfies Record<string, { title: string; aim?: string }>;
export type Row = keyof typeof ROWS;

/** One line of the table: what is said of it, and the numbers. */
export interface Cell {
  row: Row;
  text: string;
  numbers: Readonly<Record<string, number>>;
  /** Of its aim. */
  met?: boolean;
}
/** How a measurement tells what it found. */
export type Note = (row: Row, text: string, numbers: Record<string, number>, met?: boolean) => void;

/** All rows that were asked for; one that is missing says why, and has not met its aim. */
export function table(rows: readonly Row[], cells: readonly Cell[], missing: ReadonlyMap<Row, string>): string {
  const width = Math.max(...Object.values(ROWS).map(({ title }) => title.length)) + 2;
  return rows
    .map((row) => {
      const { title, aim } = ROWS[row] as { title: string; aim?: string };
      const cell = cells.find((one) => one.row === row);
      const text = cell?.text ?? `missing: ${missing.get(row) ?? 'not measured'}`;
      const verdict = aim === undefined ? '' : `  (${aim}) ${cell?.met === true ? 'ok' : 'SHORT'}`;
      return `${title.padEnd(width)}${text}${verdict}`;
    })
    .join('\n');
}

export function round(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(1);
}

export function ms(value: number): string {
  return Math.abs(value) >= 10_000 ? `${(value / 1000).toFixed(1)} s` : `${round(value)} ms`;
}
