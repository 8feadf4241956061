import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { errorCode } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { StateFiles } from '../../lib/stateDir.ts';
import { PostgresRepository } from './postgres/repository.ts';
import type { Repository } from './repository.ts';
import { openDatabase } from './sqlite/database.ts';
import { SqliteRepository } from './sqlite/repository.ts';

export interface OpenOptions {
  files: StateFiles;
  /** postgres://…; without one the database is a file in the state directory. */
  databaseUrl?: string | undefined;
  log: Logger;
  fatal: (error: Error) => void;
}

/** Opens the engine that the store was started with. @throws any StoreErrorCode with status 0 */
export async function openRepository({ databaseUrl, fatal, files, log }: OpenOptions): Promise<Repository> {
  // Whoever makes a key file there makes the directory too; with the keys elsewhere nobody has.
  mkdirSync(files.dir, { recursive: true, mode: 0o700 });
  if (databaseUrl !== undefined) return PostgresRepository.open({ url: databaseUrl, replica: replicaOf(files), log });
  return new SqliteRepository({ db: openDatabase(files.database), path: files.database, fatal });
}

/** The name of this replica, made at its first start and kept with its state. */
function replicaOf(files: StateFiles): string {
  try {
    return readFileSync(files.replica, 'latin1').trim();
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    const name = `replica-${randomBytes(4).toString('hex')}`;
    writeFileSync(files.replica, `${name}\n`, { mode: 0o600 });
    return name;
  }
}
