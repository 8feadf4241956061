import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

const PIECE_BYTES = 4 * 1024 * 1024;

/** Searches the writable memory of a process of ours (Linux; its own user or root): heap, buffers, stacks, and what was freed but not overwritten. */
export function memoryHolds(pid: number, needle: Buffer): boolean {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    return writableRanges(pid).some(([from, to]) => rangeHolds(memory, from, to, needle));
  } finally {
    closeSync(memory);
  }
}

function writableRanges(pid: number): [number, number][] {
  const maps = readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n');
  return maps.flatMap((line): [number, number][] => {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    return from === undefined || to === undefined ? [] : [[Number.parseInt(from, 16), Number.parseInt(to, 16)]];
  });
}

function rangeHolds(memory: number, from: number, to: number, needle: Buffer): boolean {
  const piece = Buffer.allocUnsafeSlow(PIECE_BYTES + needle.length);
  for (let at = from; at < to; at += PIECE_BYTES) {
    const length = Math.min(piece.length, to - at);
    try {
      const bytes = readSync(memory, piece, 0, length, at);
      if (piece.subarray(0, bytes).includes(needle)) return true;
    } catch {
      // Not backed by memory, such as a guard page.
    }
  }
  return false;
}
