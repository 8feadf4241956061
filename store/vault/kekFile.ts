import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fstatSync, fsyncSync, mkdirSync, openSync, readSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode } from '../../lib/errors.ts';
import { secretBuffer } from '../../lib/secretBuffer.ts';
import type { StateFiles } from '../../lib/stateDir.ts';
import { storeError } from '../errors.ts';
import { KEY_BYTES } from './envelope.ts';
import { type KekProvider, localKek } from './kek.ts';

/** Room for 32 bytes in base64 and a line break; a longer file is none of ours. */
const FILE_LIMIT_BYTES = 128;
const SHAPE = /^[A-Za-z0-9+/]{43}=\n?$/;

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
  const descriptor = openSync(files.kek, 'wx', 0o600);
  try {
    writeSync(descriptor, `${key.toString('base64')}\n`);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
    key.fill(0);
  }
  syncDirectory(dirname(files.kek));
}

/** Reads the key file. @throws KekMissing, KekExposed, KekMalformed */
export function readKekFile(path: string): KekProvider {
  const text = Buffer.alloc(FILE_LIMIT_BYTES);
  try {
    const length = readPrivately(path, text);
    if (length === FILE_LIMIT_BYTES || !SHAPE.test(text.toString('latin1', 0, length))) {
      throw storeError('KekMalformed', `${path} does not hold 32 bytes in base64; put the right key file back.`);
    }
    return localKek(decode(text.subarray(0, length)));
  } finally {
    text.fill(0);
  }
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

function decode(base64: Buffer): Buffer {
  const decoded = Buffer.from(base64.toString('latin1'), 'base64');
  const key = secretBuffer(KEY_BYTES);
  decoded.copy(key);
  decoded.fill(0);
  return key;
}

function kekMissing(path: string): Error {
  return storeError(
    'KekMissing',
    `${path} is missing, and nothing in the database can be read without it. Put it back, or move the database away to start empty.`,
  );
}

/** Makes a new or renamed file in the directory survive a power loss. */
export function syncDirectory(dir: string): void {
  const descriptor = openSync(dir, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
