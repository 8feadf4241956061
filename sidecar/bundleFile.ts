import { chmodSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** What the agent trusts: everything that we verify upstreams by, and our own CA. */
export function writeBundleFile(file: string, rootsPem: string, caPem: string): void {
  writePublicFile(file, bundlePem(rootsPem, caPem));
}

export function bundlePem(rootsPem: string, caPem: string): string {
  return `${caPem}\n${rootsPem}`;
}

/** Public certificates only, for everybody to read; a reader sees all of it or the one before. */
export function writePublicFile(file: string, content: string | Buffer): void {
  const temporary = `${file}.${process.pid}`;
  try {
    // What lies there may be a link that somebody has put into the volume.
    rmSync(temporary, { force: true });
    writeFileSync(temporary, content, { mode: 0o644, flag: 'wx' });
    // Whatever the umask is.
    chmodSync(temporary, 0o644);
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
