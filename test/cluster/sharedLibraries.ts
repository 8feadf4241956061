import { execFileSync } from 'node:child_process';

/** The files that the dynamic linker would load for a program or library, itself included (ldd(1)); none for a static one. */
export function sharedLibraries(file: string): string[] {
  let said: string;
  try {
    said = execFileSync('ldd', [file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    if (/not a dynamic executable/.test(String((error as { stderr?: string }).stderr))) return [];
    throw error;
  }
  const missing = /^\s*(\S+) => not found/m.exec(said);
  if (missing) throw new Error(`${file} needs ${missing[1]}, which is not installed`);
  return [...said.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map((match) => match[1]!);
}
