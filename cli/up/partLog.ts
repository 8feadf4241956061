import { createWriteStream, type WriteStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { StateFiles } from '../../lib/stateDir.ts';
import { openLog } from '../logs.ts';
import { printable } from '../terminal.ts';

/** pino's number for `warn`. */
const WARN = 40;
/** A line longer than this is cut into several: nothing grows without bound. */
const LINE_LIMIT = 64 * 1024;

export interface LogLine {
  level: 'warn' | 'error';
  message: string;
}

/** Takes a part's log: all of it to its file, and its warnings to `onWarning`. */
export class PartLog {
  readonly #file: WriteStream;
  readonly #onWarning: (line: LogLine) => void;

  constructor(files: StateFiles, part: string, onWarning: (line: LogLine) => void) {
    this.#file = createWriteStream('', { fd: openLog(files, part) });
    this.#file.on('error', () => {}); // A full disk must not stop the part.
    this.#onWarning = onWarning;
  }

  readonly follow = (stream: Readable): void => {
    let rest = '';
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      this.#file.write(chunk);
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!.slice(-LINE_LIMIT);
      for (const line of lines) this.#line(line);
    });
  };

  close(): void {
    this.#file.end();
  }

  #line(line: string): void {
    if (line.trim() === '') return;
    let entry: { level?: unknown; msg?: unknown; message?: unknown } & Record<string, unknown>;
    try {
      entry = JSON.parse(line);
    } catch {
      // What a runtime writes when a process dies.
      this.#onWarning({ level: 'error', message: printable(line) });
      return;
    }
    const level = levelOf(entry.level);
    if (level !== undefined) this.#onWarning({ level, message: printable(sentence(entry)) });
  }
}

function levelOf(level: unknown): LogLine['level'] | undefined {
  if (level === 'warn') return 'warn';
  if (level === 'error' || level === 'fatal') return 'error';
  if (typeof level !== 'number' || level < WARN) return undefined;
  return level > WARN ? 'error' : 'warn';
}

const FRAME = new Set(['level', 'time', 'pid', 'hostname', 'name', 'msg', 'message', 'part']);

/** `the store stops (why: SIGTERM)` */
function sentence(entry: Record<string, unknown>): string {
  const details = Object.entries(entry)
    .filter(([key]) => !FRAME.has(key))
    .map(([key, value]) => `${key}: ${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const message = String(entry.msg ?? entry.message ?? '');
  return details.length === 0 ? message : `${message} (${details.join(', ')})`;
}
