import { readFileSync, statSync } from 'node:fs';
import type { StatusFile } from '../../api/statusFile.ts';

/** The file is replaced atomically, and a look at it costs microseconds: simpler and surer on every file system than watching. */
const INTERVAL_MS = 250;

/** Calls `onChange` with the status file now, if it is there, and each time it is replaced. Returns how to stop. */
export function watchStatus(path: string, onChange: (status: StatusFile) => void): () => void {
  let seen = '';
  const look = () => {
    const status = changed();
    if (status !== undefined) onChange(status);
  };
  const changed = (): StatusFile | undefined => {
    try {
      const { ino, mtimeMs, size } = statSync(path);
      const mark = `${ino} ${mtimeMs} ${size}`;
      if (mark === seen) return undefined;
      const status = JSON.parse(readFileSync(path, 'utf8'));
      seen = mark;
      return status;
    } catch {
      return undefined; // Not there yet.
    }
  };
  look();
  const timer = setInterval(look, INTERVAL_MS);
  return () => clearInterval(timer);
}

/** @throws the file system's error, or SyntaxError */
export function readStatus(path: string): StatusFile {
  return JSON.parse(readFileSync(path, 'utf8'));
}
