import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

const BLOCK_BYTES = 4 * 1024 * 1024;

export interface MemoryBlock {
  /** As /proc/PID/maps names it: `[heap]`, `[stack]`, a file, or empty for what a process maps for itself. */
  readonly region: string;
  /** Used again for the next block. */
  readonly bytes: Buffer;
}

/** Everything that a process can write to, whether in use or freed; blocks overlap by `overlapBytes`. Linux, and only for processes that we may trace. */
export function* writableMemory(pid: number, overlapBytes: number): Generator<MemoryBlock> {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const block = Buffer.alloc(BLOCK_BYTES + overlapBytes);
  try {
    for (const { from, to, region } of writableRanges(pid)) {
      for (let at = from; at < to; at += BLOCK_BYTES) {
        const bytes = readAt(memory, block, at, Math.min(block.length, to - at));
        if (bytes > 0) yield { region, bytes: block.subarray(0, bytes) };
      }
    }
  } finally {
    closeSync(memory);
  }
}

function writableRanges(pid: number): { from: number; to: number; region: string }[] {
  return readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap((line) => {
      const [, from, to, region = ''] = /^([0-9a-f]+)-([0-9a-f]+) rw\S+(?: +\S+){3} *(.*)$/.exec(line) ?? [];
      return from === undefined || to === undefined
        ? []
        : [{ from: Number.parseInt(from, 16), to: Number.parseInt(to, 16), region }];
    });
}

/** 0 where nothing can be read: the range went away, is not backed by memory, or the kernel does not show it. */
function readAt(memory: number, block: Buffer, at: number, length: number): number {
  try {
    return readSync(memory, block, 0, length, at);
  } catch {
    return 0;
  }
}
