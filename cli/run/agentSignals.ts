import type { ChildProcess } from 'node:child_process';

/** Signals that cannot be caught (KILL, STOP) end or stop us; the agent's proxy then goes with us. */
const PASSED_ON: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGWINCH',
  'SIGCONT',
];
/** What ends a start. */
const ENDING: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']);
/** What a terminal sends to the agent by itself, as it is in our process group: a second one would count twice. */
const FROM_TERMINAL: ReadonlySet<NodeJS.Signals> = new Set(['SIGINT', 'SIGQUIT', 'SIGWINCH']);

/** Takes the signals that are sent to us from the first moment on, and hands them to the agent once there is one. */
export class AgentSignals {
  readonly #handlers: readonly { signal: NodeJS.Signals; handler: () => void }[];
  readonly #interrupted: Promise<NodeJS.Signals>;
  #agent: ChildProcess | undefined;
  /** Came between the start of the sidecar and that of the agent. */
  #waiting: NodeJS.Signals[] = [];

  constructor() {
    const terminal = [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY === true);
    let interrupt!: (signal: NodeJS.Signals) => void;
    this.#interrupted = new Promise((resolve) => {
      interrupt = resolve;
    });
    this.#handlers = PASSED_ON.map((signal) => {
      const handler = () => {
        if (this.#agent === undefined) {
          this.#waiting.push(signal);
          if (ENDING.has(signal)) interrupt(signal);
        } else if (!(terminal && FROM_TERMINAL.has(signal))) this.#agent.kill(signal);
      };
      process.on(signal, handler);
      return { signal, handler };
    });
  }

  /** The result of `work`, or the signal that asked us to end before it was there. */
  async orInterrupted<T extends object>(work: Promise<T>): Promise<T | NodeJS.Signals> {
    work.catch(() => {}); // After an interruption nobody waits for it.
    return Promise.race([work, this.#interrupted]);
  }

  passTo(agent: ChildProcess): void {
    this.#agent = agent;
    for (const signal of this.#waiting.splice(0)) agent.kill(signal);
  }

  off(): void {
    for (const { signal, handler } of this.#handlers) process.off(signal, handler);
  }
}
