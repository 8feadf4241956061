import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { errorCode } from '../../lib/errors.ts';
import { storeError } from '../errors.ts';
import { syncDirectory } from './kekFile.ts';
import { KekSpec } from './kekSpec.ts';

/**
 * Where keys were rotated to, besides what the bootstrap says: a file of the state directory, and not of the database, for whoever can
 * write to the database must not be able to name a server that gets tokens and keys.
 */
export function readKekPlaces(stateDir: string): KekSpec[] {
  const path = pathIn(stateDir);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
  try {
    return z.array(KekSpec).parse(JSON.parse(text));
  } catch {
    throw storeError('KekMalformed', `${path} does not name places of keys; put it back.`);
  }
}

/** Replaces the file as a whole. */
export function writeKekPlaces(stateDir: string, places: readonly KekSpec[]): void {
  const path = pathIn(stateDir);
  rmSync(`${path}.next`, { force: true });
  const descriptor = openSync(`${path}.next`, 'wx', 0o600);
  try {
    writeSync(descriptor, `${JSON.stringify(places)}\n`);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(`${path}.next`, path);
  syncDirectory(stateDir);
}

function pathIn(stateDir: string): string {
  return join(stateDir, 'kek.places.json');
}
