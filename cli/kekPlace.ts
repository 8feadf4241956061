import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { KekSpec } from '../api/bootstrap.ts';
import { readKekPlaces, writeKekPlaces } from '../store/vault/kekPlaces.ts';
import { sameKek } from '../store/vault/kekSpec.ts';
import { usageError } from './errors.ts';
import type { Folder } from './folder.ts';
import { printable } from './terminal.ts';

/** A place for keys as options name it; the last three are of `transit:…`. */
export interface KekPlaceFlags {
  place?: string | undefined;
  tokenFile?: string | undefined;
  caFile?: string | undefined;
  namespace?: string | undefined;
}

const TRANSIT = /^transit:(https?:\/\/[^/]+)\/([\w-]+(?:\/[\w-]+)*)\/([\w.-]+)$/;

/** The place that `option` names; undefined: none is named. @throws Usage */
export function kekPlaceOf(
  cwd: string,
  { place, tokenFile, caFile, namespace }: KekPlaceFlags,
  option: string,
): KekSpec | undefined {
  const isTransit = place?.startsWith('transit:') ?? false;
  if (!isTransit && (tokenFile ?? caFile ?? namespace) !== undefined)
    throw usageError(`--token-file, --ca-file and --namespace are of ${option} transit:…`);
  if (place === undefined) return undefined;
  if (place === 'file') return { file: 'kek' };
  if (place.startsWith('file:')) return { file: resolve(cwd, place.slice('file:'.length)) };
  if (place.startsWith('secret:')) return { secretDir: resolve(cwd, place.slice('secret:'.length)) };
  const [, address, mount, keyName] = TRANSIT.exec(place) ?? [];
  if (address === undefined || keyName === undefined)
    throw usageError(
      `${option} ${printable(place)} is no place for a key`,
      'it is file, file:PATH, secret:DIR or transit:https://HOST:8200/MOUNT/KEY',
    );
  if (tokenFile === undefined) throw usageError(`${option} transit:… needs --token-file`);
  return {
    transit: {
      address,
      keyName,
      mount,
      tokenFile: resolve(cwd, tokenFile),
      ...(caFile !== undefined && { caFile: resolve(cwd, caFile) }),
      ...(namespace !== undefined && { namespace }),
    },
  };
}

/** Where the keys are for a store that is not told: undefined where they are in the key file. */
export function keptKekPlace({ files }: Folder): KekSpec | undefined {
  return existsSync(files.kek) ? undefined : readKekPlaces(files.dir)[0];
}

/** For the commands that come after, which start the store without being told. */
export function rememberKekPlace({ files }: Folder, place: KekSpec | undefined): void {
  if (place === undefined || sameKek(place, { file: files.kek }, files.dir)) return;
  const others = readKekPlaces(files.dir);
  writeKekPlaces(files.dir, [place, ...others.filter((one) => !sameKek(one, place, files.dir))]);
}
