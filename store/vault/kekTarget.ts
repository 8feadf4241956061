import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { errorCode, errorText } from '../../lib/errors.ts';
import { storeError, storeErrorCode } from '../errors.ts';
import type { Repository } from '../persist/repository.ts';
import type { KekProvider } from './kek.ts';
import { idsIn, takeCensus } from './kekCensus.ts';
import { createKekFile } from './kekFile.ts';
import { type KekSpec, openKek, sameKek } from './kekSpec.ts';
import type { Keyring } from './keyring.ts';

const OF_A_DISK: ReadonlySet<string> = new Set(['EIO', 'ENOSPC', 'EROFS', 'EDQUOT']);
const PROBE = Buffer.from('sidekey kek probe');

interface Options {
  repository: Repository;
  keyring: Keyring;
  stateDir: string;
}

/** The key to rotate to: made if that can be done here, and tried before anything depends on it. @throws KekNotRotatable, StoreSealed */
export async function targetKey(options: Options, to: KekSpec | undefined): Promise<string> {
  const { keyring } = options;
  const inForce = keyring.providers.find(({ provider }) => provider.knows(keyring.current));
  if (inForce === undefined || keyring.sealed !== undefined) throw storeError('StoreSealed', keyring.sealed?.message);
  try {
    const provider = await providerAt(options, to ?? inForce.spec);
    const id = await newKey(options, provider);
    const probe = await provider.wrap(id, PROBE, PROBE);
    (await provider.unwrap(probe, PROBE)).fill(0);
    return id;
  } catch (error) {
    const code = storeErrorCode(error);
    if (code !== undefined && code !== 'KekNotRotatable' && !code.startsWith('Kek')) throw error;
    if (OF_A_DISK.has(errorCode(error) ?? ''))
      throw storeError('StorageFailed', `The new key could not be written: ${errorText(error)}`, { cause: error });
    throw storeError('KekNotRotatable', errorText(error), { cause: error });
  }
}

/** The one of the keyring, or one that is added to it. */
async function providerAt({ keyring, stateDir }: Options, spec: KekSpec): Promise<KekProvider> {
  const known = keyring.providers.find((one) => sameKek(one.spec, spec, stateDir))?.provider;
  if (known === undefined && 'file' in spec && !existsSync(resolve(stateDir, spec.file)))
    createKekFile(resolve(stateDir, spec.file));
  const provider = known ?? openKek(spec, stateDir);
  await provider.health(known !== undefined && keyring.held);
  if (known === undefined) keyring.add(spec, provider);
  return provider;
}

/** @throws KekNotRotatable where keys are made elsewhere, and none was */
async function newKey({ keyring: { current }, repository }: Options, provider: KekProvider): Promise<string> {
  const newest = provider.keys.at(-1)?.id;
  const others = idsIn(await takeCensus(repository)).filter((id) => id !== current && id !== '');
  // A new one that does not wrap yet, or the current one where not all is under it.
  if (newest !== undefined && (newest !== current || others.length > 0)) return newest;
  if (provider.makeKey !== undefined) return provider.makeKey();
  throw storeError(
    'KekNotRotatable',
    `${provider.where} has no newer key than ${newest}: add one to the Secret, by a name that sorts after those there, and try again.`,
  );
}
