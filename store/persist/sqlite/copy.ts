import { closeSync, openSync, rmSync } from 'node:fs';
import { backup, DatabaseSync } from 'node:sqlite';

/** Pages that are copied at once: 1 MiB, while which a statement waits. */
const STEP_PAGES = 256;
/** What is left when writers are asked to wait, so that the end is not within a transaction. */
const LAST_PAGES = 8 * STEP_PAGES;

/** Whether writers hardly notice if they wait for all of the copy. */
export function isSoonCopied(db: DatabaseSync): boolean {
  return pagesOf(db) <= LAST_PAGES;
}

/**
 * Copies the database to `path`, online, and opens the copy; its file has no name any more by then. `pause` is called once, shortly before
 * the end: no transaction may begin until this resolves.
 */
export async function copyDatabase(db: DatabaseSync, path: string, pause: () => void): Promise<DatabaseSync> {
  remove(path);
  // SQLite would make it with 0644.
  closeSync(openSync(path, 'wx', 0o600));
  let paused = false;
  const last = (pages: number) => {
    if (paused || pages > LAST_PAGES) return;
    paused = true;
    pause();
    if (db.isTransaction) throw new Error('a transaction goes on');
  };
  try {
    last(pagesOf(db));
    await backup(db, path, { rate: STEP_PAGES, progress: ({ remainingPages }) => last(remainingPages) });
    const copy = new DatabaseSync(path);
    // So that it needs no memory shared by files.
    copy.exec('PRAGMA locking_mode = EXCLUSIVE');
    copy.prepare('SELECT count(*) FROM sqlite_schema').get();
    return copy;
  } finally {
    remove(path);
  }
}

function pagesOf(db: DatabaseSync): number {
  return Number(db.prepare('PRAGMA page_count').get()?.page_count);
}

function remove(path: string): void {
  for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(path + suffix, { force: true });
}
