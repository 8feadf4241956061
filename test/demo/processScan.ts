import { readFileSync } from 'node:fs';
import { filesIn } from '../filesIn.ts';
import { writableMemory } from '../processMemory.ts';

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
  for (const { bytes } of writableMemory(pid, longest)) {
    memoryBytes += bytes.length;
    if (holds(bytes)) findings.push({ pid, place: 'memory' });
  }
  return { findings, memoryBytes };
}

/** Files under a directory that hold one of the secrets, as paths from there. */
export function scanFiles(dir: string, secrets: readonly Buffer[]): { findings: string[]; files: number } {
  const files = filesIn(dir);
  const holding = files.filter(([, content]) => secrets.some((secret) => content.includes(secret)));
  return { findings: holding.map(([path]) => path), files: files.length };
}

/** The process and everything it started. */
export function processTree(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ').filter(Boolean);
  return [pid, ...children.flatMap((child) => processTree(Number(child)))];
}
