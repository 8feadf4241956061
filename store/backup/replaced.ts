import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { StateFiles } from '../../lib/stateDir.ts';
import { storeError } from '../errors.ts';
import { openRepository } from '../persist/open.ts';
import { placeOf } from '../persist/postgres/link.ts';
import { type Occupants, occupantsOf } from '../persist/postgres/occupants.ts';
import type { Repository } from '../persist/repository.ts';
import type { BackupFile } from './backupFile.ts';

/**
 * The PostgreSQL database that somebody says is replaced. Who names it counts on what it knows, so it is read or nothing is restored.
 *
 * @throws RestoreRefused, StoreRunning
 */
export async function openReplaced(replaced: {
  /** postgres://… */
  url: string;
  files: StateFiles;
  log: Logger;
  backup: BackupFile;
}): Promise<Repository> {
  const { backup, files, log, url } = replaced;
  let occupants: Occupants;
  let repository: Repository | undefined;
  try {
    occupants = await occupantsOf(url);
    // Opening makes the tables where there are none.
    if (occupants.isStore) repository = await openRepository({ files, databaseUrl: url, log, fatal: () => {} });
  } catch (error) {
    throw refused(`The database that is replaced cannot be read, so what it revoked is not known: ${errorText(error)}`);
  }
  if (repository === undefined)
    throw refused(`The database that is named as replaced, ${placeOf(url)}, holds no store.`);
  try {
    const { processes } = occupants;
    if (processes.length > 0)
      throw storeError('StoreRunning', `The store that is replaced runs still: stop ${processes.join(', ')} first.`);
    const chains = new Set(await repository.transaction((tx) => tx.audit.chains()));
    if (!backup.manifest.heads.some(({ chain = 'store' }) => chains.has(chain)))
      log.warn(
        {},
        'the database that is replaced has no chain of the audit in common with the backup: is it the right one?',
      );
    return repository;
  } catch (error) {
    await repository.close();
    throw error;
  }
}

function refused(message: string) {
  return storeError('RestoreRefused', message);
}
