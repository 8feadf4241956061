import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';

const BLOCK_BYTES = 4 * 1024 * 1024;

/** Where a process holds one of some secrets; Linux only (`/proc`). */
export interface ProcessFinding {
  pid: number;
  place: 'environment' | 'arguments' | 'memory';
}

/** Looks for the secrets in environment, arguments and all readable memory of a process. Only for processes that we may trace. */
export function scanProcess(
  pid: number,
  secrets: readonly Buffer[],
): { findings: ProcessFinding[]; memoryBytes: number } {
  const findings: ProcessFinding[] = [];
  const holds = (bytes: Buffer) => secrets.some((secret) => bytes.includes(secret));
  if (holds(readFileSync(`/proc/${pid}/environ`))) findings.push({ pid, place: 'environment' });
  if (holds(readFileSync(`/proc/${pid}/cmdline`))) findings.push({ pid, place: 'arguments' });
  let memoryBytes = 0;
  const longest = Math.max(...secrets.map((secret) => secret.length));
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    for (const [from, to] of writableRanges(pid)) {
      memoryBytes += readRange(memory, from, to, longest, (block) => {
        if (holds(block)) findings.push({ pid, place: 'memory' });
      });
    }
  } finally {
    closeSync(memory);
  }
  return { findings, memoryBytes };
}

/** Files under a directory that hold one of the secrets, as paths. */
export function scanFiles(dir: string, secrets: readonly Buffer[]): { findings: string[]; files: number } {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name));
  return { findings: paths.filter((path) => secrets.some((s) => readFileSync(path).includes(s))), files: paths.length };
}

/** The process and everything it started. */
export function processTree(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean);
  return [pid, ...children.flatMap((child) => processTree(Number(child)))];
}

function writableRanges(pid: number): [bigint, bigint][] {
  return readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap((line) => {
      const match = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line);
      return match === null ? [] : [[BigInt(`0x${match[1]}`), BigInt(`0x${match[2]}`)] as [bigint, bigint]];
    });
}

/** Reads a range in blocks that overlap by the longest secret. Returns how much could be read. */
function readRange(memory: number, from: bigint, to: bigint, overlap: number, look: (block: Buffer) => void): number {
  const block = Buffer.alloc(BLOCK_BYTES);
  let total = 0;
  for (let at = from; at < to; ) {
    const length = Number(to - at < BigInt(BLOCK_BYTES) ? to - at : BigInt(BLOCK_BYTES));
    let read: number;
    try {
      read = readSync(memory, block, 0, length, at);
    } catch {
      return total; // The range went away, or the kernel does not show it (vvar).
    }
    if (read === 0) return total;
    look(block.subarray(0, read));
    total += read;
    at += BigInt(read > overlap && at + BigInt(read) < to ? read - overlap : read);
  }
  return total;
}
