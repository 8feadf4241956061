import type { Transaction } from '../persist/repository.ts';

const EPOCH = 'epoch';
const VERSION_FLOOR = 'version floor';

/** Versions that a credential may have had between a backup and its restore: what comes after a restore is above them all. */
export const VERSION_JUMP = 1_000_000;

/** How often the store was restored. */
export async function epochOf(tx: Transaction): Promise<number> {
  return Number((await tx.meta.get(EPOCH))?.toString() ?? 0);
}

export async function setEpoch(tx: Transaction, epoch: number): Promise<void> {
  await tx.meta.set(EPOCH, Buffer.from(String(epoch)));
}

/** Versions up to this one may have been in use before a restore, of any credential; 0 where nothing was restored. */
export async function versionFloor(tx: Transaction): Promise<number> {
  return Number((await tx.meta.get(VERSION_FLOOR))?.toString() ?? 0);
}

export async function setVersionFloor(tx: Transaction, floor: number): Promise<void> {
  await tx.meta.set(VERSION_FLOOR, Buffer.from(String(floor)));
}
