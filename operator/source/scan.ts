import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../../lib/errors.ts';

const FILE_LIMIT_BYTES = 1024 * 1024;
const FILES_LIMIT = 5_000;
const DIRECTORIES_LIMIT = 1_000;
const DEPTH_LIMIT = 16;

/** What is in a folder at one moment. */
export interface Scan {
  /** Relative path → what changes whenever the file does (device, inode, size, times). */
  files: Map<string, string>;
  /** Relative path → size in bytes. */
  sizes: Map<string, number>;
  /** Relative path (`''` for the folder itself) → what tells a directory from another that takes its place. */
  directories: Map<string, string>;
  /** Directories and files that could not be looked at (relative path → code such as EACCES): what is below is not gone. */
  unseen: Map<string, string>;
}

/** Walks a folder for *.yaml and *.yml, through symbolic links, without dot files (`.sidekey/`, and the `..data` of ConfigMaps). */
export function scanFolder(folder: string): Scan {
  const scan: Scan = { files: new Map(), sizes: new Map(), directories: new Map(), unseen: new Map() };
  walk(folder, '', scan, []);
  return scan;
}

function walk(folder: string, relative: string, scan: Scan, above: readonly string[]): void {
  const path = join(folder, relative);
  let names: string[];
  let real: string;
  let identity: string;
  try {
    real = realpathSync(path);
    names = readdirSync(path).sort();
    const { dev, ino } = statSync(path, { bigint: true });
    identity = `${dev}:${ino}`;
  } catch (error) {
    scan.unseen.set(relative, errorCode(error) ?? 'unreadable');
    return;
  }
  if (above.includes(real)) return; // A link to a directory above.
  if (above.length >= DEPTH_LIMIT || scan.directories.size >= DIRECTORIES_LIMIT) {
    scan.unseen.set(relative, 'too many or too deep directories');
    return;
  }
  scan.directories.set(relative, identity);
  for (const name of names) {
    if (name.startsWith('.') || name === 'node_modules') continue;
    look(folder, relative === '' ? name : `${relative}/${name}`, scan, [...above, real]);
  }
}

function look(folder: string, relative: string, scan: Scan, above: readonly string[]): void {
  try {
    const stat = statSync(join(folder, relative), { bigint: true });
    if (stat.isDirectory()) walk(folder, relative, scan, above);
    else if (stat.isFile() && isYaml(relative)) {
      if (scan.files.size >= FILES_LIMIT) scan.unseen.set(relative, `more than ${FILES_LIMIT} files`);
      else {
        scan.files.set(relative, `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`);
        scan.sizes.set(relative, Number(stat.size));
      }
    }
  } catch (error) {
    // Gone since it was listed, or a link to nothing: as if it were not there.
    if (errorCode(error) !== 'ENOENT' && isYaml(relative)) scan.unseen.set(relative, errorCode(error) ?? 'unreadable');
  }
}

function isYaml(path: string): boolean {
  return /[.]ya?ml$/.test(path);
}

/** The text of a file. @throws RangeError with what is wrong with it, or the file system's error */
export function readText(path: string): string {
  // Nonblocking: the path may have become a pipe.
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const bytes = Buffer.alloc(FILE_LIMIT_BYTES + 1);
  let length = 0;
  try {
    if (!fstatSync(descriptor).isFile()) throw new RangeError('this is not a file');
    for (;;) {
      const read = readSync(descriptor, bytes, length, bytes.length - length, null);
      length += read;
      if (read === 0 || length === bytes.length) break;
    }
    if (length > FILE_LIMIT_BYTES) throw new RangeError('the file is larger than 1 MiB; split it');
    return decode(bytes.subarray(0, length));
  } finally {
    closeSync(descriptor);
    // It may hold a Secret.
    bytes.fill(0, 0, length);
  }
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new RangeError('the file is not UTF-8');
  }
}
