import { chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** What the agent trusts: everything that we verify upstreams by, and our own CA. Public certificates only, for everybody to read; a reader sees all of it or the one before. */
export function writeBundleFile(file: string, rootsPem: string, caPem: string): void {
  const temporary = `${file}.${process.pid}`;
  try {
    writeFileSync(temporary, `${caPem}\n${rootsPem}`, { mode: 0o644 });
    // Whatever the umask is.
    chmodSync(temporary, 0o644);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
