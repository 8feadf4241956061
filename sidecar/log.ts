import { writeSync } from 'node:fs';
import type { Logger } from '../lib/log.ts';

const STDERR = 2;
/** pino's numbers, which the other parts log with. */
const LEVELS = { debug: 20, info: 30, warn: 40, error: 50 } as const;

/** A logger that writes JSON lines to standard error, as pino does in the other parts at 15 MB more. `debug` is left out unless asked for. */
export function createLogger(name: string, options: { debug?: boolean } = {}): Logger {
  const line = (level: keyof typeof LEVELS) => (fields: object, message: string) => {
    const text = JSON.stringify({ level: LEVELS[level], time: Date.now(), name, ...fields, msg: message });
    try {
      writeSync(STDERR, `${text}\n`);
    } catch {
      // Nobody reads it or the pipe is full: no reason to stop working.
    }
  };
  return {
    debug: options.debug === true ? line('debug') : () => {},
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
  };
}
