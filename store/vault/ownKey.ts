import { storeError } from '../errors.ts';
import type { Repository } from '../persist/repository.ts';
import type { Vault } from './vault.ts';

const KEK_ID = 'kek id';

/**
 * Makes sure that the database belongs to the KEK at hand; a new database is bound to it.
 *
 * @throws KekMismatch
 */
export async function bindKek(repository: Repository, vault: Vault): Promise<void> {
  const bound = await repository.transaction(async (tx) => {
    const found = await tx.meta(KEK_ID);
    if (found === undefined) await tx.setMeta(KEK_ID, Buffer.from(vault.kekId));
    return found?.toString() ?? vault.kekId;
  });
  if (bound !== vault.kekId) {
    throw storeError(
      'KekMismatch',
      `The database was encrypted under key ${bound}, the key file holds ${vault.kekId}. Put the right key file back, or point at the right database.`,
    );
  }
}

/** A key of the store itself, from the database or made now; the caller overwrites it after use. @throws DatabaseDamaged */
export async function ownKey(repository: Repository, vault: Vault, name: string, make: () => Buffer): Promise<Buffer> {
  return repository.transaction(async (tx) => {
    const sealed = await tx.meta(name);
    if (sealed !== undefined) return await opened(vault, name, sealed);
    const key = make();
    await tx.setMeta(name, await vault.sealOwn(name, key));
    return key;
  });
}

async function opened(vault: Vault, name: string, sealed: Buffer): Promise<Buffer> {
  try {
    return await vault.openOwn(name, sealed);
  } catch (error) {
    throw storeError(
      'DatabaseDamaged',
      `The ${name} in the database was changed: it does not open. Restore a backup.`,
      {
        cause: error,
      },
    );
  }
}
