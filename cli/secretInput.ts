import { readSync } from 'node:fs';
import { MATERIAL_LIMIT_BYTES } from '../api/fields.ts';
import type { Context } from './context.ts';
import { CliError, usageError } from './errors.ts';

const CTRL_C = 0x03;
const CTRL_D = 0x04;
const BACKSPACES = new Set([0x08, 0x7f]);
const CTRL_U = 0x15;
const LINE_ENDS = new Set([0x0a, 0x0d]);

/**
 * One secret from standard input: typed unseen on a terminal, else all that comes, without one line break at its end.
 *
 * The bytes never become a string; the caller overwrites the Buffer.
 */
export async function readSecret(context: Context, label: string): Promise<Buffer> {
  return process.stdin.isTTY ? prompt(context, label) : readAll(context);
}

function readAll(context: Context): Buffer {
  const all = Buffer.alloc(MATERIAL_LIMIT_BYTES + 3);
  let length = 0;
  while (length < all.length) {
    const read = readSome(all, length);
    if (read === 0) break;
    length += read;
  }
  try {
    const end = withoutLineBreak(all, length);
    if (end !== length) context.note('one line break at the end of the input was left out');
    if (end > MATERIAL_LIMIT_BYTES)
      throw usageError(`the input is longer than the ${MATERIAL_LIMIT_BYTES} bytes that a credential can have`);
    return Buffer.from(all.subarray(0, end));
  } finally {
    all.fill(0);
  }
}

function readSome(into: Buffer, at: number): number {
  for (;;) {
    try {
      return readSync(0, into, at, into.length - at, null);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EOF') return 0;
      // A non-blocking pipe whose writer is not done yet.
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}

function withoutLineBreak(bytes: Buffer, length: number): number {
  if (length === 0 || bytes[length - 1] !== 0x0a) return length;
  return length > 1 && bytes[length - 2] === 0x0d ? length - 2 : length - 1;
}

/** Reads a line in raw mode, so that neither the terminal nor its scrollback shows it. */
function prompt(context: Context, label: string): Promise<Buffer> {
  const { stdin } = process;
  const typed = Buffer.alloc(MATERIAL_LIMIT_BYTES);
  let length = 0;
  context.terminal.err.write(`${label} (not shown): `);
  stdin.setRawMode(true);
  stdin.resume();
  return new Promise((resolve, reject) => {
    const done = (finish: () => void) => {
      stdin.off('data', onData);
      stdin.setRawMode(false);
      stdin.pause();
      context.terminal.err.write('\n');
      finish();
      typed.fill(0);
    };
    const onData = (chunk: Buffer) => {
      for (const byte of chunk) {
        if (byte === CTRL_C || (byte === CTRL_D && length === 0)) {
          done(() => reject(new CliError('Cancelled', 'nothing was set')));
          break;
        }
        if (LINE_ENDS.has(byte) || byte === CTRL_D) {
          done(() => resolve(Buffer.from(typed.subarray(0, length))));
          break;
        }
        if (BACKSPACES.has(byte)) length = Math.max(0, length - 1);
        else if (byte === CTRL_U) length = 0;
        else if (length < typed.length) typed[length++] = byte;
      }
      chunk.fill(0);
    };
    stdin.on('data', onData);
  });
}
