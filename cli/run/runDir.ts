import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CA_VARIABLES, RARE_CA_VARIABLES } from '../../lib/agent/caVariables.ts';
import { javaTrustStore } from '../../lib/agent/javaTrustStore.ts';
import { errorText } from '../../lib/errors.ts';
import { usageError } from '../errors.ts';
import type { AgentUser } from './agentUser.ts';

/** What one `sidekey run` leaves on disk while it runs: public certificates only, readable by the agent. */
export class RunDir {
  readonly path: string;
  readonly bundleFile: string;
  readonly trustStoreFile: string;

  /** `shared`: another user must be able to get there, which our own temporary directory may not allow. */
  constructor(shared: boolean) {
    this.path = mkdtempSync(join(shared ? '/tmp' : tmpdir(), 'sidekey-run-'));
    // There is nothing secret in here.
    chmodSync(this.path, shared ? 0o755 : 0o700);
    this.bundleFile = join(this.path, 'ca-bundle.pem');
    this.trustStoreFile = join(this.path, 'ca-bundle.jks');
  }

  /**
   * One file of the extra CAs: of `--extra-ca`, and of the user's own CA variables, which ours replace. Undefined if there are none.
   *
   * @throws Usage if the file of `--extra-ca` cannot be read
   */
  extraCaFile(named: string | undefined, env: NodeJS.ProcessEnv): string | undefined {
    const blocks = new Set<string>();
    if (named !== undefined) {
      const found = certificates(readNamed(named));
      if (found.length === 0) throw usageError(`${named} has no certificate in PEM format`);
      for (const block of found) blocks.add(block);
    }
    for (const name of [...CA_VARIABLES, ...RARE_CA_VARIABLES]) {
      for (const block of certificates(readQuietly(env[name]))) blocks.add(block);
    }
    if (blocks.size === 0) return undefined;
    const path = join(this.path, 'extra-ca.pem');
    writeFileSync(path, `${[...blocks].join('\n')}\n`);
    return path;
  }

  /** Once the sidecar has written the bundle. */
  finish(now: Date): void {
    chmodSync(this.bundleFile, 0o644);
    writeFileSync(this.trustStoreFile, javaTrustStore(readFileSync(this.bundleFile, 'latin1'), now));
    chmodSync(this.trustStoreFile, 0o644);
  }

  /** Where the agent is at home: its user's own directory, or an empty one for a user who has none. */
  homeFor(user: AgentUser): string {
    if (user.home !== undefined && isDirectory(user.home)) return user.home;
    const home = join(this.path, 'home');
    mkdirSync(home, { recursive: true, mode: 0o700 });
    chownSync(home, user.uid, user.gid);
    return home;
  }

  remove(): void {
    try {
      rmSync(this.path, { recursive: true, force: true, maxRetries: 2 });
    } catch {
      // What the agent left in its home may be in use; the system clears its temporary directory.
    }
  }
}

function certificates(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
}

function readNamed(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    throw usageError(`--extra-ca ${path} cannot be read: ${errorText(error)}`);
  }
}

function readQuietly(path: string | undefined): string {
  try {
    return path ? readFileSync(path, 'latin1') : '';
  } catch {
    return ''; // A stale variable is no reason not to start.
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
