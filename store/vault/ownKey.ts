import { storeError } from '../errors.ts';
import type { Repository } from '../persist/repository.ts';
import { KekError } from './kek.ts';
import type { Vault } from './vault.ts';

/** A key of the store itself, from the database or made now; the caller overwrites it after use. @throws DatabaseDamaged, StoreSealed */
export async function ownKey(repository: Repository, vault: Vault, name: string, make: () => Buffer): Promise<Buffer> {
  const found = await repository.transaction((tx) => tx.meta.get(name));
  if (found !== undefined) return opened(vault, name, found);
  const key = make();
  const sealed = await vault.sealOwn(name, key);
  // Another replica may have been first: then its key is the one.
  const other = await repository.transaction(async (tx) => {
    const before = await tx.meta.get(name);
    if (before === undefined) await tx.meta.set(name, sealed);
    return before;
  });
  if (other === undefined) return key;
  key.fill(0);
  return opened(vault, name, other);
}

async function opened(vault: Vault, name: string, sealed: Buffer): Promise<Buffer> {
  try {
    return await vault.openOwn(name, sealed);
  } catch (error) {
    if (!(error instanceof KekError)) throw error;
    const message = `The ${name} in the database was changed: it does not open. Restore a backup.`;
    throw storeError('DatabaseDamaged', message, { cause: error });
  }
}
