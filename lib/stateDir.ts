import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** Name of the state directory inside a folder of objects. */
export const STATE_DIR = '.sidekey';

/** Longest path that a Unix socket can have on every platform we run on (sun_path is 104 bytes on macOS). */
const SOCKET_PATH_LIMIT = 100;

export interface StateFiles {
  dir: string;
  /** Key encryption key, 32 bytes in base64, mode 0600. */
  kek: string;
  database: string;
  adminSocket: string;
  /** StatusFile (api/statusFile.ts). */
  status: string;
  /** The last signed head of the audit chain, outside the database, so that truncating the one shows against the other. */
  auditHead: string;
  /** What the owner wants of the audit beyond keeping it: retention and exports. Written by hand. */
  auditConfig: string;
  /** Name of this replica of a store whose database is elsewhere. */
  replica: string;
  /** RunFile: how to reach a running store. */
  run: string;
}

/** Where each file of a state directory is. A socket path too long for the kernel moves to the temporary directory. */
export function stateFiles(stateDir: string): StateFiles {
  const dir = resolve(stateDir);
  const socket = join(dir, 'admin.sock');
  const digest = createHash('sha256').update(dir).digest('hex').slice(0, 16);
  return {
    dir,
    kek: join(dir, 'kek'),
    database: join(dir, 'store.db'),
    adminSocket:
      Buffer.byteLength(socket) <= SOCKET_PATH_LIMIT ? socket : join(tmpdir(), `sidekey-${digest}`, 'admin.sock'),
    status: join(dir, 'status.json'),
    auditHead: join(dir, 'audit.head'),
    auditConfig: join(dir, 'audit.yaml'),
    replica: join(dir, 'replica'),
    run: join(dir, 'run.json'),
  };
}

/** What `sidekey up` leaves for `sidekey run` while it runs. */
export interface RunFile {
  pid: number;
  storeUrl: string;
  trustBundlePem: string;
}
