import { closeSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KekSpec, PartMessage } from '../api/bootstrap.ts';
import { errorCode, errorText } from '../lib/errors.ts';
import { ensureKekFile } from '../store/vault/kekFile.ts';
import { sameKek } from '../store/vault/kekSpec.ts';
import { AdminClient } from './adminClient.ts';
import type { Context } from './context.ts';
import { databaseUrlOf } from './database.ts';
import { CliError } from './errors.ts';
import type { Folder } from './folder.ts';
import { keptKekPlace } from './kekPlace.ts';
import { logFile, openLog } from './logs.ts';
import { Part } from './part.ts';
import { withProgress } from './terminal.ts';

export type StoreReady = Extract<PartMessage, { storeUrl: string }>;

/** Does `work` with the folder's store: the one that runs, or else one that is started for the moment and stopped after. */
export async function withStore<T>(
  context: Context,
  folder: Folder,
  work: (admin: AdminClient) => Promise<T>,
): Promise<T> {
  const admin = new AdminClient(folder);
  if (await answers(admin)) return work(admin);
  const databaseUrl = databaseUrlOf(context, folder);
  const kek = keptKekPlace(folder);
  ensureState(folder, kek);
  const log = openLog(folder.files, 'store');
  try {
    const { part } = await withProgress(context.terminal, 'starting the store for the moment', () =>
      Part.start<StoreReady>(
        { part: 'store', stateDir: folder.files.dir, listenHost: '127.0.0.1', listenPort: 0, databaseUrl, kek },
        { log, logPath: logFile(folder.files, 'store'), env: context.env },
      ),
    );
    try {
      return await work(admin);
    } finally {
      await part.stop();
    }
  } finally {
    closeSync(log);
  }
}

/** The state directory, which git ignores, and, before there is a database, its key, unless that is elsewhere. @throws KekMissing */
export function ensureState(folder: Folder, kek: KekSpec | undefined): void {
  try {
    if (kek === undefined || sameKek(kek, { file: folder.files.kek }, folder.files.dir)) ensureKekFile(folder.files);
    else mkdirSync(folder.files.dir, { recursive: true, mode: 0o700 });
    keepOutOfGit(folder);
  } catch (error) {
    throw new CliError(errorCode(error) ?? 'StateUnusable', `${folder.files.dir} cannot be used: ${errorText(error)}`);
  }
}

/** The key and the database must not be committed with the YAML beside them. */
function keepOutOfGit(folder: Folder): void {
  const path = join(folder.files.dir, '.gitignore');
  if (!existsSync(path)) writeFileSync(path, '*\n', { mode: 0o600 });
}

/** Whether a store of ours listens. @throws whatever is wrong besides that */
export async function answers(admin: AdminClient): Promise<boolean> {
  try {
    await admin.sessions();
    return true;
  } catch (error) {
    if (error instanceof CliError && error.code === 'NotRunning') return false;
    throw error;
  }
}
