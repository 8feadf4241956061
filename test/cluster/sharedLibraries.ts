import { spawnSync } from 'node:child_process';

/** The files that the dynamic linker would load for programs and libraries, each once; none for static ones (ldd(1)). @throws Error that names what is not installed */
export function sharedLibraries(files: readonly string[]): string[] {
  if (files.length === 0) return [];
  const { error, stdout } = spawnSync('ldd', files, { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 });
  if (error) throw error;
  const missing = /^\s*(\S+) => not found/m.exec(stdout);
  if (missing) throw new Error(`an image needs ${missing[1]}, which is not installed`);
  return [...new Set([...stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map((match) => match[1]!))];
}
