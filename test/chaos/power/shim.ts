import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOURCE = new URL('power.c', import.meta.url).pathname;
let built: string | undefined;

/** What becomes of what a process writes below `dir`; power.c says what each of them does. */
export interface Power {
  dir: string;
  failAt?: number;
  seed?: number;
  /** Of 100 unsynced sectors. */
  keep?: number;
  lie?: boolean;
  eioAt?: number;
}

/** The environment that has a process lose power, or its disk fail. @throws Error in words if there is no C compiler */
export function powerEnv({
  dir,
  eioAt = 0,
  failAt = 0,
  keep = 0,
  lie = false,
  seed = 1,
}: Power): Record<string, string> {
  return {
    LD_PRELOAD: shim(),
    POWER_DIR: dir,
    POWER_FAIL_AT: String(failAt),
    POWER_SEED: String(seed),
    POWER_KEEP: String(keep),
    POWER_LIE: lie ? '1' : '0',
    POWER_EIO_AT: String(eioAt),
  };
}

function shim(): string {
  if (built !== undefined) return built;
  const path = join(mkdtempSync(join(tmpdir(), 'sidekey-power-')), 'power.so');
  try {
    execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-shared', '-fPIC', '-o', path, SOURCE, '-ldl', '-lpthread'], {
      stdio: 'pipe',
    });
  } catch (error) {
    throw new Error(
      'Power loss cannot be tested without a C compiler for Linux. Run: apt-get install --no-install-recommends gcc libc6-dev',
      { cause: error },
    );
  }
  built = path;
  return path;
}
