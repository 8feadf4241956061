import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type RunFile, STATE_DIR, type StateFiles, stateFiles } from '../lib/stateDir.ts';
import type { Context } from './context.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exitCodes.ts';

/** A folder of objects and the state directory in it. */
export interface Folder {
  readonly path: string;
  readonly files: StateFiles;
}

export function folderAt(path: string): Folder {
  const absolute = resolve(path);
  return { path: absolute, files: stateFiles(join(absolute, STATE_DIR)) };
}

/** The folder that `--dir` or SIDEKEY_DIR names, or the nearest one upwards of here that has a state directory. @throws NoFolder */
export function findFolder(context: Context): Folder {
  if (context.dir !== undefined) return existingFolder(resolve(context.cwd, context.dir));
  const found = nearest(context.cwd);
  if (found !== undefined) return folderAt(found);
  throw new CliError('NoFolder', `neither ${context.cwd} nor a folder above it has a ${STATE_DIR} directory`, {
    exit: EXIT.notRunning,
    next: 'start Sidekey on a folder with `sidekey up DIR`, then name it with --dir DIR or SIDEKEY_DIR=DIR, or stand in it',
  });
}

/** As `findFolder`, but objects without a state directory are enough: for what comes before the first `sidekey up`. @throws NoFolder */
export function objectsFolder(context: Context): Folder {
  if (context.dir !== undefined) return existingFolder(resolve(context.cwd, context.dir));
  const found = nearest(context.cwd) ?? (hasObjects(context.cwd) ? context.cwd : undefined);
  if (found !== undefined) return folderAt(found);
  throw new CliError(
    'NoFolder',
    `${context.cwd} has neither a ${STATE_DIR} directory nor Credential or Integration YAML`,
    {
      exit: EXIT.notRunning,
      next: 'name the folder with --dir DIR or SIDEKEY_DIR=DIR, or make one with `sidekey init DIR`',
    },
  );
}

/** Whether a file right in the folder is about objects of ours. */
function hasObjects(path: string): boolean {
  return readdirSync(path).some((name) => {
    if (!/\.ya?ml$/i.test(name)) return false;
    try {
      return readFileSync(join(path, name), 'utf8').includes('sidekey.dev/');
    } catch {
      return false; // A directory, or not ours to read.
    }
  });
}

/** @throws NotAFolder */
export function existingFolder(path: string): Folder {
  if (!existsSync(path) || !statSync(path).isDirectory())
    throw new CliError('NotAFolder', `${path} is no folder`, {
      exit: EXIT.usage,
      next: 'name a folder of Credential and Integration YAML, or make one with `sidekey init DIR`',
    });
  return folderAt(path);
}

function nearest(from: string): string | undefined {
  for (let at = from; ; at = dirname(at)) {
    if (existsSync(join(at, STATE_DIR))) return at;
    if (at === dirname(at)) return undefined;
  }
}

/** What `sidekey up` left, if it runs now. */
export function readRunFile(files: StateFiles): RunFile | undefined {
  let run: RunFile;
  try {
    run = JSON.parse(readFileSync(files.run, 'utf8'));
  } catch {
    return undefined;
  }
  return isAlive(run.pid) ? run : undefined;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is somebody else's, and alive.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Said wherever a running store is needed and there is none. */
export function notRunning(folder: Folder): CliError {
  return new CliError('NotRunning', `nothing runs on ${folder.path}`, {
    exit: EXIT.notRunning,
    next: `start it in another terminal: sidekey up ${folder.path}`,
  });
}
