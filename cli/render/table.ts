/** Columns as kubectl prints them: padded to the widest cell, three spaces between, nothing after the last. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => width(row[column] ?? ''))));
  return all
    .map((row) =>
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell + ' '.repeat(widths[column]! - width(cell))))
        .join('   ')
        .trimEnd(),
    )
    .join('\n');
}

/** Characters that a cell takes on the screen: colours take none. */
function width(cell: string): number {
  return cell.replace(/\x1b\[[0-9;]*m/g, '').length;
}

/** `45s`, `12m`, `3h`, `5d` */
export function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** `3 integrations`, `1 integration` */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

/** Commands with what each does, one a line, as what to do next. */
export function commandLines(commands: readonly (readonly [string, string])[]): string[] {
  const widest = Math.max(...commands.map(([command]) => command.length));
  return commands.map(([command, what]) => (what === '' ? `  ${command}` : `  ${command.padEnd(widest)}   # ${what}`));
}
