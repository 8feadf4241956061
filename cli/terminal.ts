import type { Writable } from 'node:stream';
import { styleText } from 'node:util';

export type Style = Parameters<typeof styleText>[0];

/** Where a command writes: results to `out`, all else to `err`; colours and progress only where a person looks. */
export interface Terminal {
  readonly out: Writable;
  readonly err: Writable;
  /** Whether each is a terminal. */
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  readonly env: NodeJS.ProcessEnv;
}

export function processTerminal(): Terminal {
  return {
    out: process.stdout,
    err: process.stderr,
    outIsTerminal: process.stdout.isTTY === true,
    errIsTerminal: process.stderr.isTTY === true,
    env: process.env,
  };
}

/** Colours `text` if the stream is a terminal and NO_COLOR (no-color.org) is not set. */
export function painter(terminal: Terminal, stream: 'out' | 'err'): (style: Style, text: string) => string {
  const isTerminal = stream === 'out' ? terminal.outIsTerminal : terminal.errIsTerminal;
  const colours = isTerminal && !terminal.env.NO_COLOR && terminal.env.TERM !== 'dumb';
  return (style, text) => (colours ? styleText(style, text, { validateStream: false }) : text);
}

/** Makes what came from elsewhere safe to print: no control or escape sequences, so that nothing moves the cursor or the colours. */
export function printable(text: string): string {
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '?');
}

const PATIENCE_MS = 2_000;
const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** Does `work`; if it takes more than two seconds, a terminal shows what is being done and for how long. */
export async function withProgress<T>(terminal: Terminal, label: string, work: () => Promise<T>): Promise<T> {
  if (!terminal.errIsTerminal) return work();
  const startedMs = performance.now();
  let frame = 0;
  const timer = setInterval(() => {
    const elapsedMs = performance.now() - startedMs;
    if (elapsedMs < PATIENCE_MS) return;
    frame = (frame + 1) % FRAMES.length;
    terminal.err.write(`\r\x1b[K${FRAMES[frame]} ${label} (${Math.floor(elapsedMs / 1000)} s)`);
  }, 120);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    if (performance.now() - startedMs >= PATIENCE_MS) terminal.err.write('\r\x1b[K');
  }
}
