import type { AuditHead } from '../../api/admin.ts';
import { storeError } from '../errors.ts';
import type { Repository, Transaction } from '../persist/repository.ts';
import type { Vault } from '../vault/vault.ts';
import type { BackupFile } from './backupFile.ts';
import type { BackupRow } from './rows.ts';

/** Rows that one transaction writes. */
const BATCH = 512;
/** Name in the meta table of a database that a restore has begun to fill. */
const RESTORING = 'restoring';

/** @throws DatabaseDamaged */
export async function requireRestored(repository: Repository): Promise<void> {
  if ((await repository.transaction((tx) => tx.meta.get(RESTORING))) === undefined) return;
  const message =
    'A restore into this database did not come to its end. Restore the backup into a new, empty database.';
  throw storeError('DatabaseDamaged', message);
}

export async function markRestored(tx: Transaction): Promise<void> {
  await tx.meta.delete(RESTORING);
}

/** Fills an empty database; it counts as half restored until `markRestored`. Keys that are open in the backup are wrapped by `vault`. The highest version there is. */
export async function importRows(backup: BackupFile, repository: Repository, vault: Vault): Promise<number> {
  const heads = new Map(backup.manifest.heads.map((head) => [head.chain ?? 'store', head]));
  await repository.transaction((tx) => tx.meta.set(RESTORING, Buffer.from(backup.manifest.createdAt)));
  let batch: BackupRow[] = [];
  let highest = 0;
  const write = async () => {
    const rows = batch;
    batch = [];
    await repository.transaction(async (tx) => {
      for (const row of rows) await put(tx, row, heads);
    });
    for (const row of rows) if ('blob' in row) row.blob.fill(0);
  };
  for await (const row of backup.rows()) {
    if (row.type === 'material') highest = Math.max(highest, row.head.version);
    batch.push(await wrapped(row, vault));
    if (batch.length === BATCH) await write();
  }
  await write();
  return highest;
}

/** Not within a transaction: a key may have to go to a key management service. */
async function wrapped(row: BackupRow, vault: Vault): Promise<BackupRow> {
  if (row.type === 'ownKey') {
    const sealed = await vault.sealOwn(row.name, row.blob);
    row.blob.fill(0);
    return { type: 'meta', name: row.name, blob: sealed };
  }
  if (row.type === 'dataKey' && row.kekId === undefined) {
    const { kekId, wrapped: blob } = await vault.adoptDataKey(row.credential, row.blob);
    row.blob.fill(0);
    return { ...row, kekId, blob };
  }
  return row;
}

async function put(tx: Transaction, row: BackupRow, heads: ReadonlyMap<string, AuditHead>): Promise<void> {
  switch (row.type) {
    case 'meta':
      return tx.meta.set(row.name, row.blob);
    case 'credential':
      return tx.credentials.put(row.key, row.record);
    case 'integration':
      return tx.integrations.put(row.key, row.record);
    case 'dataKey':
      return tx.dataKeys.put(row.credential, { kekId: row.kekId!, wrapped: row.blob });
    case 'material':
      return tx.materials.put({ ...row.head, sealed: row.blob });
    case 'leases':
      return tx.leases.addCount(row.credential, row.version, row.count);
    case 'revocation':
      return tx.revocations.put(row.revocation);
    case 'audit':
      return tx.audit.append(row.chain, row.entry, heads.get(row.chain)!);
    case 'ownKey':
    case 'manifest':
    case 'end':
      return;
  }
}
