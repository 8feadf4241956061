import type { Path } from './contenders/contender.ts';
import type { Metric, Row } from './rows.ts';

export type Metrics = Partial<Record<Metric, number>>;

/** The middle of the rounds, and the ends. */
export interface Summary {
  median: number;
  min: number;
  max: number;
  rounds: number;
}

export interface Cell {
  path: Path;
  row: Row;
  contender: string;
  metrics: Partial<Record<Metric, Summary>>;
  /** Why some or all of it could not be measured. */
  failures: string[];
}

/** What each contender did on each row, round by round. */
export class Results {
  readonly #values = new Map<string, { cell: Omit<Cell, 'metrics'>; rounds: Metrics[] }>();

  add(path: Path, row: Row, contender: string, metrics: Metrics): void {
    this.#at(path, row, contender).rounds.push(metrics);
  }

  fail(path: Path, row: Row, contender: string, reason: string): void {
    const { failures } = this.#at(path, row, contender).cell;
    if (!failures.includes(reason)) failures.push(reason);
  }

  get cells(): Cell[] {
    return [...this.#values.values()].map(({ cell, rounds }) => {
      const names = new Set(rounds.flatMap((round) => Object.keys(round) as Metric[]));
      const metrics: Cell['metrics'] = {};
      for (const name of names) metrics[name] = summarise(rounds.flatMap((round) => round[name] ?? []));
      return { ...cell, metrics };
    });
  }

  #at(path: Path, row: Row, contender: string) {
    const key = `${path} ${row} ${contender}`;
    const known = this.#values.get(key) ?? { cell: { path, row, contender, failures: [] }, rounds: [] };
    this.#values.set(key, known);
    return known;
  }
}

/** @throws RangeError of no values */
export function summarise(values: readonly number[]): Summary {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)!, rounds: sorted.length };
}
