import { closeSync, existsSync, openSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { errorText } from '../../../lib/errors.ts';
import { storeError } from '../../errors.ts';
import { syncDirectory } from '../../vault/kekFile.ts';
import { MIGRATIONS } from './migrations.ts';

/** SQLite's primary result codes (sqlite.org/rescode.html) that we tell apart. */
const BUSY = 5;
const CORRUPT = 11;
const TOO_BIG = 18;
const CONSTRAINT = 19;
const NOT_A_DATABASE = 26;
const IO_ERROR_FSYNC = 1034;

/** Longest that a start waits for the lock of a process that is just ending. */
const LOCK_WAIT_MS = 2_000;

/**
 * Opens the database file for this process alone, checks it and brings its tables up to date.
 *
 * @throws StoreRunning, DatabaseDamaged, DatabaseTooNew
 */
export function openDatabase(path: string): DatabaseSync {
  const isNew = !existsSync(path);
  // SQLite would make it with 0644.
  closeSync(openSync(path, 'a', 0o600));
  if (isNew) syncDirectory(dirname(path));
  const db = new DatabaseSync(path, { timeout: LOCK_WAIT_MS, enableForeignKeyConstraints: true });
  try {
    // Exclusive: the kernel holds the lock for the life of the process and lets go of it after kill -9; no shared memory file either.
    db.exec('PRAGMA locking_mode = EXCLUSIVE');
    db.exec('PRAGMA journal_mode = WAL');
    db.exec('PRAGMA synchronous = FULL');
    db.exec('PRAGMA secure_delete = ON');
    db.exec('BEGIN EXCLUSIVE; COMMIT');
    writeFileSync(pidFile(path), `${process.pid}\n`, { mode: 0o600 });
    check(db, path);
    migrate(db, path);
    return db;
  } catch (error) {
    closeQuietly(db);
    throw explain(error, path);
  }
}

export function closeDatabase(db: DatabaseSync, path: string): void {
  db.close();
  unlinkSync(pidFile(path));
}

/** SQLite's extended result code of an error, if it is one of SQLite's. */
export function sqliteCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code : undefined;
}

/** Whether nothing that the database says can be relied on any more: what fsync refused to write may be lost without a trace. */
export function isFatal(error: unknown): boolean {
  const code = sqliteCode(error);
  if (code === undefined) return false;
  const primary = code & 0xff;
  return code === IO_ERROR_FSYNC || primary === CORRUPT || primary === NOT_A_DATABASE;
}

/** Whether an error is the doing of one statement alone, so that the rest of the transaction stands. */
export function isOwnFault(error: unknown): boolean {
  const primary = (sqliteCode(error) ?? 0) & 0xff;
  return primary === CONSTRAINT || primary === TOO_BIG;
}

function check(db: DatabaseSync, path: string): void {
  const rows = db.prepare('PRAGMA quick_check(1)').all();
  const result = String(Object.values(rows[0] ?? {})[0]);
  if (result !== 'ok') throw damaged(path, result);
}

function migrate(db: DatabaseSync, path: string): void {
  const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number };
  if (version > MIGRATIONS.length) {
    throw storeError(
      'DatabaseTooNew',
      `${path} has schema ${version}, this version of Sidekey knows ${MIGRATIONS.length}; use the version that wrote it.`,
    );
  }
  for (const [index, step] of MIGRATIONS.entries()) {
    if (index >= version) db.exec(`BEGIN IMMEDIATE; ${step} PRAGMA user_version = ${index + 1}; COMMIT`);
  }
}

function explain(error: unknown, path: string): unknown {
  const code = sqliteCode(error);
  if (code === undefined) return error;
  if ((code & 0xff) === BUSY)
    return storeError('StoreRunning', `Another store${owner(path)} uses ${path}; stop it first.`);
  if (isFatal(error)) return damaged(path, errorText(error));
  return storeError('StorageFailed', `${path} cannot be opened: ${errorText(error)}`, { cause: error });
}

function damaged(path: string, detail: string): Error {
  return storeError(
    'DatabaseDamaged',
    `${path} is damaged (${detail}). Restore a backup of it, or move ${path}* away to start empty: then all values must be set again.`,
  );
}

function owner(path: string): string {
  try {
    return ` (pid ${Number.parseInt(readFileSync(pidFile(path), 'latin1'), 10)})`;
  } catch {
    return '';
  }
}

function pidFile(path: string): string {
  return `${path}.pid`;
}

function closeQuietly(db: DatabaseSync): void {
  try {
    db.close();
  } catch {
    // The error that led here says more.
  }
}
