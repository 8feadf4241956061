import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { SimulatorAnswer, SimulatorRequest } from './messages.ts';

/** Most sidecars in one process: its event loop must not be what is measured. */
const PER_PROCESS = 5_000;

/** Processes of simulated sidecars. They end with this one, and are ended by their own ids. */
export class Simulators {
  readonly #children: ChildProcess[];
  readonly count: number;

  constructor(count: number) {
    this.count = count;
    const processes = Math.max(2, Math.ceil(count / PER_PROCESS));
    this.#children = Array.from({ length: processes }, () =>
      fork(join(import.meta.dirname, 'simulator.ts'), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
    );
  }

  async join(store: { storeUrl: string; trustBundlePem: string; adminSocket: string }): Promise<number> {
    const each = Math.ceil(this.count / this.#children.length);
    const answers = await Promise.all(
      this.#children.map((child, i) =>
        ask(child, {
          ask: 'join',
          ...store,
          first: i * each,
          count: Math.min(each, this.count - i * each),
        }),
      ),
    );
    return Math.max(...answers.map(({ seconds }) => seconds ?? 0));
  }

  /** Asks each; numbers of sidecars in the request are shared out. */
  async all(message: SimulatorRequest): Promise<Required<Omit<SimulatorAnswer, 'error'>>> {
    const shared =
      'sidecars' in message ? { ...message, sidecars: Math.ceil(message.sidecars / this.#children.length) } : message;
    const answers = await Promise.all(this.#children.map((child) => ask(child, shared)));
    const failures: Record<string, number> = {};
    for (const answer of answers)
      for (const [code, times] of Object.entries(answer.failures ?? {})) failures[code] = (failures[code] ?? 0) + times;
    return {
      atMs: answers.flatMap(({ atMs }) => atMs ?? []),
      latenciesMs: answers.flatMap(({ latenciesMs }) => latenciesMs ?? []),
      failures,
      seconds: Math.max(...answers.map(({ seconds }) => seconds ?? 0)),
      done: answers.reduce((sum, { done }) => sum + (done ?? 0), 0),
      waiting: answers.reduce((sum, { waiting }) => sum + (waiting ?? 0), 0),
    };
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const exit = once(child, 'exit');
        child.kill('SIGKILL');
        await exit;
      }),
    );
  }
}

async function ask(child: ChildProcess, message: SimulatorRequest): Promise<SimulatorAnswer> {
  const answered = new Promise<SimulatorAnswer>((resolve, reject) => {
    child.once('message', (answer) => {
      child.off('exit', gone);
      resolve(answer as SimulatorAnswer);
    });
    const gone = () => reject(new Error('a process of simulated sidecars has ended'));
    child.once('exit', gone);
  });
  child.send(message);
  const answer = await answered;
  if (answer.error !== undefined) throw new Error(answer.error);
  return answer;
}
