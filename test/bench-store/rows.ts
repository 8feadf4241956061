/** What is measured, in the order of the table. */
export const ROWS = {
  start: 'start until it serves',
  auditOne: 'audit appends, one at a time',
  auditMany: 'audit appends, 64 at a time',
  joins: 'joins (certificate and record)',
  leases: 'leases, 64 at a time',
  connectFew: 'first connection of {few}',
  changeFew: 'push of a change to {few}',
  revokeFew: 'push of a revocation to {few}',
  connectAll: 'first connection of {all}',
  changeAll: 'push of a change to {all}',
  revokeAll: 'push of a revocation to {all}',
  reconnectAll: 'all {all} back after a crash',
  steadyAll: 'leases meanwhile (100 sidecars, 1/s)',
  memory: 'resident memory with all connected',
  pgbench: "PostgreSQL's own inserts (pgbench)",
} as const;
export type Row = keyof typeof ROWS;

/** One cell of the table: what is said of it, and the numbers. */
export interface Cell {
  engine: string;
  row: Row;
  text: string;
  numbers: Record<string, number>;
  /** Of an aim that was set for it, if there is one. */
  met?: boolean;
}

/** What a row is called when it was measured with so many sidecars. */
export function titleOf(row: Row, sidecars: number): string {
  const all = sidecars.toLocaleString('en');
  return ROWS[row].replace('{few}', Math.min(sidecars, 1_000).toLocaleString('en')).replace('{all}', all);
}

/** Rows by engines; what is missing says why. */
export function table(
  engines: readonly string[],
  cells: readonly Cell[],
  missing: ReadonlyMap<string, string>,
  sidecars: number,
): string {
  const width = Math.max(...Object.values(ROWS).map((title) => title.length)) + 2;
  const column = 44;
  const lines = [''.padEnd(width) + engines.map((engine) => engine.padEnd(column)).join('')];
  for (const row of Object.keys(ROWS) as Row[]) {
    const title = titleOf(row, sidecars);
    const texts = engines.map((engine) => {
      const cell = cells.find((one) => one.engine === engine && one.row === row);
      const verdict = cell?.met === undefined ? '' : cell.met ? ' ok' : ' SHORT';
      return `${cell?.text ?? missing.get(`${engine} ${row}`) ?? '–'}${verdict}`.padEnd(column);
    });
    if (texts.some((text) => text.trim() !== '–')) lines.push(`${title.padEnd(width)}${texts.join('')}`.trimEnd());
  }
  return lines.join('\n');
}
