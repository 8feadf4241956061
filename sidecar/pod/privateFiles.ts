import { closeSync, constants, fstatSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../../lib/errors.ts';

const LIMIT_BYTES = 1024 * 1024;
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** A folder in memory that outlives this process but not its pod, and that only the sidecar's container mounts. */
export class PrivateFiles {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /** Undefined if there is none. @throws Error that says why the file is not taken */
  read(name: string): Buffer | undefined {
    let fd: number;
    try {
      fd = openSync(this.path(name), READ);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const { mode, size, uid } = fstatSync(fd);
      if ((mode & constants.S_IFMT) !== constants.S_IFREG) throw new Error('it is no regular file');
      if (uid !== process.geteuid?.()) throw new Error(`it belongs to user ${uid}`);
      // Not of the group: for a pod with an fsGroup the kubelet lets that in, again after each of its restarts.
      if ((mode & 0o007) !== 0) throw new Error('anybody may use it');
      if (size > LIMIT_BYTES) throw new Error(`it has ${size} bytes`);
      return readFileSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** A reader sees all of it, or what was there before. @throws the system's error */
  write(name: string, bytes: Buffer): void {
    const temporary = this.path(`${name}.new`);
    // Left behind by one who was killed.
    rmSync(temporary, { force: true });
    try {
      const fd = openSync(temporary, 'wx', 0o600);
      try {
        writeSync(fd, bytes);
      } finally {
        closeSync(fd);
      }
      renameSync(temporary, this.path(name));
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  }

  path(name: string): string {
    return join(this.#dir, name);
  }
}
