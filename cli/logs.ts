import { chmodSync, mkdirSync, openSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { StateFiles } from '../lib/stateDir.ts';

/** Where a log is put aside at the next start, so that logs do not fill the disk. */
const LOG_LIMIT_BYTES = 16 * 1024 * 1024;

export function logFile(files: StateFiles, part: string): string {
  return join(files.dir, 'logs', `${part}.log`);
}

/** Opens a part's log to append to, for this user alone; a long one moves to `.1`. */
export function openLog(files: StateFiles, part: string): number {
  const path = logFile(files, part);
  mkdirSync(join(files.dir, 'logs'), { recursive: true, mode: 0o700 });
  try {
    if (statSync(path).size > LOG_LIMIT_BYTES) renameSync(path, `${path}.1`);
  } catch {
    // The first start.
  }
  const descriptor = openSync(path, 'a', 0o600);
  chmodSync(path, 0o600);
  return descriptor;
}
