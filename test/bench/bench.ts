import type { Contender, Path, Running } from './contenders/contender.ts';
import { firstAnswer, idleMB, measure } from './measure.ts';
import { type Metrics, Results } from './results.ts';
import type { Effort, Row } from './rows.ts';
import type { Upstream } from './upstream.ts';

export interface Plan {
  contenders: readonly Contender[];
  paths: readonly Path[];
  rows: readonly Row[];
  effort: Effort;
  upstream: Upstream;
  /** One short line on what is being done. */
  say: (line: string) => void;
}

/** Takes turns between contenders, so that whatever else the machine does hits all of them, and repeats it. */
export class Bench {
  readonly #plan: Plan;
  readonly #deadlineMs: number;
  readonly results = new Results();
  /** Rounds that the time did not last for, in words. */
  readonly cut: string[] = [];

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#deadlineMs = performance.now() + plan.effort.budgetSeconds * 1_000;
  }

  async run(): Promise<void> {
    const { rows, effort } = this.#plan;
    if (rows.includes('start')) await this.#starts();
    if (rows.every((row) => row === 'start')) return;
    for (let round = 1; round <= effort.rounds; round++) await this.#round(round);
  }

  async #starts(): Promise<void> {
    const { paths, contenders, effort, upstream, say } = this.#plan;
    for (const path of paths) {
      for (let turn = 0; turn < effort.starts; turn++) {
        for (const contender of inTurn(contenders, turn)) {
          const what = `start ${turn + 1}/${effort.starts}, ${path}, ${contender.name}`;
          if (this.#late(what)) continue;
          say(what);
          await this.#try(path, 'start', contender, async () => {
            const running = await contender.start(upstream);
            try {
              const firstAnswerMs = await firstAnswer(running, path, upstream);
              if (running.pid === undefined) return {};
              const idle = await idleMB(running);
              return idle === undefined ? { firstAnswerMs } : { firstAnswerMs, idleMB: idle };
            } finally {
              await running.stop();
            }
          });
        }
      }
    }
  }

  async #round(round: number): Promise<void> {
    const { paths, rows, effort, say } = this.#plan;
    const started = await this.#startAll(round);
    try {
      for (const path of paths) {
        for (const row of rows) {
          if (row === 'start') continue;
          const inRound = new Map<string, Metrics>();
          for (const { contender, running } of inTurn(started, round)) {
            const what = `round ${round}/${effort.rounds}, ${path}, ${row}, ${contender.name}`;
            if (this.#late(what)) continue;
            say(what);
            await this.#try(path, row, contender, async () => {
              const metrics = await measure(row, running, path, this.#plan.upstream, effort);
              inRound.set(contender.name, metrics);
              return metrics;
            });
          }
          if (row === 'steady') this.#addLatencies(path, inRound);
        }
      }
    } finally {
      for (const { running } of started) await running.stop();
    }
  }

  #late(what: string): boolean {
    const late = performance.now() > this.#deadlineMs;
    if (late) this.cut.push(what);
    return late;
  }

  /** Latency over direct of the same round. */
  #addLatencies(path: Path, inRound: Map<string, Metrics>): void {
    const base = inRound.get('direct');
    if (base?.p50Us === undefined || base.p99Us === undefined) return;
    for (const [name, { p50Us, p99Us }] of inRound) {
      if (name === 'direct' || p50Us === undefined || p99Us === undefined) continue;
      this.results.add(path, 'steady', name, { addedP50Us: p50Us - base.p50Us, addedP99Us: p99Us - base.p99Us });
    }
  }

  async #startAll(round: number): Promise<{ contender: Contender; running: Running }[]> {
    const { contenders, paths, rows, upstream, say } = this.#plan;
    const started: { contender: Contender; running: Running }[] = [];
    for (const contender of contenders) {
      say(`round ${round}, starting ${contender.name}`);
      try {
        const running = await contender.start(upstream);
        started.push({ contender, running });
        for (const path of paths) await firstAnswer(running, path, upstream);
      } catch (error) {
        const reason = `did not start: ${error instanceof Error ? error.message : error}`;
        for (const path of paths)
          for (const row of rows) if (row !== 'start') this.results.fail(path, row, contender.name, reason);
        if (started.at(-1)?.contender === contender) await started.pop()!.running.stop();
      }
    }
    return started;
  }

  async #try(path: Path, row: Row, contender: Contender, work: () => Promise<Metrics>): Promise<void> {
    try {
      this.results.add(path, row, contender.name, await work());
    } catch (error) {
      this.results.fail(path, row, contender.name, error instanceof Error ? error.message : String(error));
    }
  }
}

/** The same list begun at another place each round, so that nobody always comes first. */
function inTurn<T>(list: readonly T[], round: number): T[] {
  const start = list.length === 0 ? 0 : round % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}
