import { existsSync } from 'node:fs';
import type { KekSpec } from '../../api/bootstrap.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { StateFiles } from '../../lib/stateDir.ts';
import { type StoreErrorCode, storeError } from '../errors.ts';
import type { Repository } from '../persist/repository.ts';
import { KekError, type KekProvider } from './kek.ts';
import { readKekPlaces } from './kekPlaces.ts';
import { openKek, sameKek } from './kekSpec.ts';
import { KeyCache } from './keyCache.ts';
import { Keyring } from './keyring.ts';
import { type SealReason, StoreSealed, sealReason } from './sealed.ts';
import { KEK_ID, Vault } from './vault.ts';

/** Name of an own key that is there to be opened: it proves that the KEK is the right one. */
const KEK_CHECK = 'kek check';
const CHECK_VALUE = Buffer.from('sidekey kek check');

export interface VaultOptions {
  repository: Repository;
  /** What the bootstrap says. */
  spec: KekSpec;
  stateDir: string;
  clock: Clock;
  log: Logger;
  /** How long, and how many, data keys from a KMS are kept. */
  dataKeySeconds: number;
  dataKeyLimit: number;
}

/**
 * Opens the keys that the database is encrypted under; a new database is bound to those of the bootstrap.
 *
 * @throws StoreSealed while they cannot be had but may come back, KekMissing, KekExposed, KekMalformed, KekMismatch where a person must see to it
 */
export async function openVault(options: VaultOptions): Promise<Vault> {
  const { repository, spec, stateDir } = options;
  const bound = (await repository.transaction((tx) => tx.meta.get(KEK_ID)))?.toString();
  const specs = [spec];
  for (const other of readKekPlaces(stateDir))
    if (!specs.some((one) => sameKek(one, other, stateDir))) specs.push(other);
  const opened = openAll(specs, stateDir);
  try {
    const problem = await usable(opened, bound);
    if (problem !== undefined) throw problem;
    return await bind(options, opened, bound);
  } catch (error) {
    for (const { provider } of opened) provider?.close();
    const reason = error instanceof StoreSealed ? error.reason : isReturning(opened, error) && sealReason(error);
    throw reason ? new StoreSealed(reason, () => looked(options, specs, bound)) : startError(error);
  }
}

/** Before a database is made: one whose key file is missing could never be told from one that has lost it. @throws KekMissing, KekExposed, KekMalformed */
export function requireKekFile(spec: KekSpec, files: Pick<StateFiles, 'dir' | 'database'>): void {
  if ('file' in spec && !existsSync(files.database)) openKek(spec, files.dir).close();
}

interface Opened {
  spec: KekSpec;
  provider?: KekProvider;
  failure?: unknown;
}

function openAll(specs: readonly KekSpec[], stateDir: string): Opened[] {
  return specs.map((spec) => {
    try {
      return { spec, provider: openKek(spec, stateDir) };
    } catch (failure) {
      return { spec, failure };
    }
  });
}

/** What stands in the way of using the key that the database is bound to; undefined if nothing does. */
async function usable(opened: Opened[], bound: string | undefined): Promise<unknown> {
  for (const one of opened) {
    try {
      await one.provider?.health();
    } catch (error) {
      one.failure = error;
    }
  }
  const holder = bound === undefined ? opened[0] : opened.find(({ provider }) => provider?.knows(bound));
  if (holder !== undefined) return holder.failure;
  const failure = opened.find((one) => one.failure !== undefined)?.failure;
  if (failure !== undefined) return failure;
  const [{ provider } = {}] = opened;
  const held = provider?.keys.map(({ id }) => id).join(', ') || 'none';
  return new KekError(
    'KekMismatch',
    `The database was encrypted under key ${bound}, ${provider?.where} holds ${held}. Put the right key file back, or point at the right database`,
  );
}

async function bind(options: VaultOptions, opened: Opened[], bound: string | undefined): Promise<Vault> {
  const { repository, clock, log, dataKeySeconds, dataKeyLimit } = options;
  const newest = opened[0]?.provider?.keys.at(-1)?.id;
  const current = bound ?? newest;
  if (current === undefined) throw new KekError('KekMissing', `${opened[0]?.provider?.where} holds no key`);
  const keyring = new Keyring({ clock, log, current });
  for (const { spec, provider } of opened) if (provider !== undefined) keyring.add(spec, provider);
  const cache = new KeyCache({ clock, seconds: dataKeySeconds, limit: dataKeyLimit });
  const vault = new Vault({ keyring, cache });
  const sealed = await repository.transaction((tx) => tx.meta.get(KEK_CHECK));
  if (sealed === undefined) {
    const made = await vault.sealOwn(KEK_CHECK, CHECK_VALUE);
    await repository.transaction(async (tx) => {
      if ((await tx.meta.get(KEK_CHECK)) === undefined) await tx.meta.set(KEK_CHECK, made);
      if ((await tx.meta.get(KEK_ID)) === undefined) await tx.meta.set(KEK_ID, Buffer.from(current));
    });
  } else await prove(vault, sealed);
  keyring.prove(async () => {
    const check = await repository.transaction((tx) => tx.meta.get(KEK_CHECK));
    if (check !== undefined) await prove(vault, check);
  });
  return vault;
}

/** @throws KekMismatch where the key there is another one by the same name */
async function prove(vault: Vault, sealed: Buffer): Promise<void> {
  try {
    (await vault.openOwn(KEK_CHECK, sealed)).fill(0);
  } catch (error) {
    if (!(error instanceof KekError) || error.code !== 'KekRefused') throw error;
    throw new KekError('KekMismatch', `${vault.keyring.provider?.where} has another key than the database needs`, {
      cause: error,
    });
  }
}

/** Whether it is worth waiting for the failure to go. */
function isReturning(opened: readonly Opened[], error: unknown): error is KekError {
  return error instanceof KekError && opened.some(({ provider }) => provider?.returns);
}

/** The reason that there is now, with providers opened anew. */
async function looked(
  { stateDir }: VaultOptions,
  specs: readonly KekSpec[],
  bound: string | undefined,
): Promise<SealReason | undefined> {
  const opened = openAll(specs, stateDir);
  try {
    const problem = await usable(opened, bound);
    return problem instanceof KekError ? sealReason(problem) : undefined;
  } finally {
    for (const { provider } of opened) provider?.close();
  }
}

/** As what ends the start of a store. */
function startError(error: unknown): unknown {
  if (!(error instanceof KekError)) return error;
  return storeError(error.code as StoreErrorCode, `${error.message}.`, { cause: error });
}
