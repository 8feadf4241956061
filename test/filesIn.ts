import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { errorCode } from '../lib/errors.ts';

/**
 * Every file in a directory and below, of those that `wanted` names: its path from there, and its content. One that a living process takes
 * away meanwhile is left out.
 */
export function filesIn(dir: string, wanted: (name: string) => boolean = () => true): [string, Buffer][] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && wanted(entry.name))
    .flatMap(({ name, parentPath }): [string, Buffer][] => {
      const path = join(parentPath, name);
      try {
        return [[relative(dir, path), readFileSync(path)]];
      } catch (error) {
        if (errorCode(error) === 'ENOENT') return [];
        throw error;
      }
    });
}
