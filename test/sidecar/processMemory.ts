import { writableMemory } from '../processMemory.ts';

/** Searches the writable memory of a process of ours (Linux; its own user or root): heap, buffers, stacks, and what was freed but not overwritten. */
export function memoryHolds(pid: number, needle: Buffer): boolean {
  for (const { bytes } of writableMemory(pid, needle.length)) if (bytes.includes(needle)) return true;
  return false;
}
