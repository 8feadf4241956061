import { randomBytes } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errorCode } from '../../lib/errors.ts';
import { secretBuffer } from '../../lib/secretBuffer.ts';
import type { StateFiles } from '../../lib/stateDir.ts';
import { storeError } from '../errors.ts';
import { KEY_BYTES } from './envelope.ts';
import { type LocalKey, localKeyId } from './localKeys.ts';

/** Room for as many keys as anybody has during a rotation; a longer file is none of ours. */
const FILE_LIMIT_BYTES = 4096;
/** A file with one key may be just that. */
const SOLE_KEY = /^[A-Za-z0-9+/]{43}=\n?$/;
const HEADING = '# sidekey keys: oldest first, one a line';
/** `id time key` */
const KEY_LINE = /^([0-9a-f]{16}) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([A-Za-z0-9+/]{43}=)$/;

/**
 * Makes a state directory ready for its first start: the directory (mode 0700) and a new key file (0600), unless there is one.
 *
 * @throws KekMissing if there is a database already: a new key would only make it unreadable for good.
 */
export function ensureKekFile(files: Pick<StateFiles, 'dir' | 'kek' | 'database'>): void {
  mkdirSync(files.dir, { recursive: true, mode: 0o700 });
  if (existsSync(files.kek)) return;
  if (existsSync(files.database)) throw kekMissing(files.kek);
  const key = randomBytes(KEY_BYTES);
  try {
    writePrivately(files.kek, 'wx', Buffer.from(`${key.toString('base64')}\n`));
  } finally {
    key.fill(0);
  }
  syncDirectory(dirname(files.kek));
}

/** Makes a file without a key, for keys to be put into. */
export function createKekFile(path: string): void {
  writePrivately(path, 'wx', Buffer.from(`${HEADING}\n`));
  syncDirectory(dirname(path));
}

/** Reads the key file; each key is in memory of its own, which the caller overwrites. @throws KekMissing, KekExposed, KekMalformed */
export function readKekFile(path: string): LocalKey[] {
  const buffer = Buffer.alloc(FILE_LIMIT_BYTES);
  try {
    const length = readPrivately(path, buffer);
    const keys = length < FILE_LIMIT_BYTES ? keysOf(buffer.subarray(0, length), path) : undefined;
    if (keys === undefined)
      throw storeError(
        'KekMalformed',
        `${path} does not hold keys of 32 bytes in base64; put the right key file back.`,
      );
    return keys;
  } finally {
    buffer.fill(0);
  }
}

/**
 * Puts `keys` in the place of what the file holds, all at once. The file as it was stays beside it as `.previous` until
 * `removePreviousKekFile`.
 */
export function replaceKekFile(path: string, keys: readonly LocalKey[]): void {
  const previous = previousOf(path);
  if (!existsSync(previous)) {
    // The mode comes along. Whole or not there, also after a power loss.
    copyFileSync(path, `${previous}.next`);
    syncFile(`${previous}.next`);
    renameSync(`${previous}.next`, previous);
  }
  const lines = keys.map(
    ({ id, createdAtMs, bytes }) => `${id} ${new Date(createdAtMs ?? 0).toISOString()} ${bytes.toString('base64')}\n`,
  );
  const content = Buffer.from(`${HEADING}\n${lines.join('')}`);
  try {
    rmSync(`${path}.next`, { force: true });
    writePrivately(`${path}.next`, 'wx', content);
  } finally {
    content.fill(0);
  }
  renameSync(`${path}.next`, path);
  syncDirectory(dirname(path));
}

/** Overwrites and removes what `replaceKekFile` has left, and what a crash may have. */
export function removePreviousKekFile(path: string): void {
  const left = [previousOf(path), `${previousOf(path)}.next`, `${path}.next`].filter((one) => existsSync(one));
  if (left.length > 0) removeOverwritten(left, dirname(path));
}

function removeOverwritten(paths: readonly string[], dir: string): void {
  for (const left of paths) {
    const zeros = Buffer.alloc(statSync(left).size);
    writePrivately(left, 'r+', zeros);
    rmSync(left);
  }
  syncDirectory(dir);
}

function previousOf(path: string): string {
  return `${path}.previous`;
}

function keysOf(content: Buffer, path: string): LocalKey[] | undefined {
  const text = content.toString('latin1');
  if (SOLE_KEY.test(text)) return [localKey(content.subarray(0, 44), statSync(path).mtimeMs)];
  const [heading, ...lines] = text.split('\n');
  if (heading !== HEADING || lines.pop() !== '') return undefined;
  const keys = lines.map((line) => {
    const [, id, time, base64] = KEY_LINE.exec(line) ?? [];
    if (base64 === undefined || time === undefined) return undefined;
    const key = localKey(Buffer.from(base64), Date.parse(time));
    return key.id === id ? key : undefined;
  });
  return keys.every((key) => key !== undefined) ? keys : undefined;
}

/** A key from its 44 characters of base64. */
export function localKey(base64: Buffer, createdAtMs: number): LocalKey {
  const decoded = Buffer.from(base64.toString('latin1'), 'base64');
  const bytes = secretBuffer(KEY_BYTES);
  decoded.copy(bytes);
  decoded.fill(0);
  return { id: localKeyId(bytes), createdAtMs, bytes };
}

function readPrivately(path: string, into: Buffer): number {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') throw kekMissing(path);
    throw error;
  }
  try {
    // Of the open file, not of the path: nobody can swap it in between.
    const { mode } = fstatSync(descriptor);
    if ((mode & 0o077) !== 0) {
      throw storeError(
        'KekExposed',
        `${path} is open to others (mode 0${(mode & 0o777).toString(8)}). Run: chmod 600 ${path} – and replace the credentials if others may have read it.`,
      );
    }
    return readSync(descriptor, into, 0, into.length, 0);
  } finally {
    closeSync(descriptor);
  }
}

function writePrivately(path: string, flags: 'wx' | 'r+', content: Buffer): void {
  const descriptor = openSync(path, flags, 0o600);
  try {
    writeSync(descriptor, content);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function kekMissing(path: string): Error {
  return storeError(
    'KekMissing',
    `${path} is missing, and nothing in the database can be read without it. Put it back, or move the database away to start empty.`,
  );
}

function syncFile(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Makes a new or renamed file in the directory survive a power loss. */
export function syncDirectory(dir: string): void {
  syncFile(dir);
}
