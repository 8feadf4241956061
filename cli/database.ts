import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { errorCode, errorText } from '../lib/errors.ts';
import type { Context } from './context.ts';
import { CliError, usageError } from './errors.ts';
import type { Folder } from './folder.ts';

/** Holds the URL of the database; never given to parts or agents, as it may hold a password. */
const VARIABLE = 'SIDEKEY_DATABASE_URL';

/** Where a folder's database is named: what `sidekey up` was told the last time, so that no other command makes a second store. */
type Remembered = { urlFile: string } | { variable: typeof VARIABLE };

/**
 * URL of the PostgreSQL database of a folder's store: of `urlFile`, else of SIDEKEY_DATABASE_URL, else of where it was the last time.
 * Undefined: it is a file in the state directory.
 *
 * @throws Usage, DatabaseUrlMissing
 */
export function databaseUrlOf(context: Context, folder: Folder, urlFile?: string): string | undefined {
  if (urlFile !== undefined) return databaseUrlIn(context, urlFile);
  const fromEnvironment = context.env[VARIABLE];
  if (fromEnvironment) return checked(fromEnvironment, VARIABLE);
  const remembered = readRemembered(folder);
  if (remembered === undefined) return undefined;
  if ('urlFile' in remembered) return urlIn(remembered.urlFile);
  throw new CliError('DatabaseUrlMissing', `the store of ${folder.path} is in PostgreSQL, and ${VARIABLE} is not set`, {
    next: `set it, or remove ${placeFile(folder)} if the store is in the state directory again`,
  });
}

/** URL of a PostgreSQL database that a file holds, and nothing else. @throws Usage */
export function databaseUrlIn(context: Context, file: string): string {
  return urlIn(resolve(context.cwd, file));
}

/** For the commands that come after: the file, or that there is a variable; never the URL. */
export function rememberDatabase(context: Context, folder: Folder, urlFile?: string): void {
  let place: Remembered;
  if (urlFile !== undefined) place = { urlFile: resolve(context.cwd, urlFile) };
  else if (context.env[VARIABLE]) place = { variable: VARIABLE };
  else return;
  writeFileSync(placeFile(folder), `${JSON.stringify(place)}\n`, { mode: 0o600 });
}

/** `postgres://host:5432/name`, for people to read: without user, password and parameters. */
export function databaseName(url: string): string {
  const { host, pathname, protocol } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}

function readRemembered(folder: Folder): Remembered | undefined {
  try {
    return JSON.parse(readFileSync(placeFile(folder), 'utf8'));
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw new CliError('StateUnusable', `${placeFile(folder)} cannot be read: ${errorText(error)}`);
  }
}

function placeFile(folder: Folder): string {
  return join(folder.files.dir, 'database.json');
}

function urlIn(path: string): string {
  try {
    return checked(readFileSync(path, 'utf8').trim(), path);
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw usageError(
      `the URL of the database cannot be read: ${errorText(error)}`,
      'name a file that holds postgres://… and nothing else',
    );
  }
}

/** Never quotes what it was given. */
function checked(url: string, where: string): string {
  if (/^postgres(ql)?:\/\//.test(url) && URL.canParse(url)) return url;
  throw usageError(
    `${where} holds no URL of a PostgreSQL database`,
    'it reads postgres://USER:PASSWORD@HOST:5432/NAME',
  );
}
