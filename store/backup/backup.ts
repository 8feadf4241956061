import { randomBytes } from 'node:crypto';
import { decodeFields } from '../../api/fields.ts';
import type { Clock } from '../../lib/clock.ts';
import { secretBuffer } from '../../lib/secretBuffer.ts';
import type { Audit } from '../audit/audit.ts';
import { storeError } from '../errors.ts';
import type { Repository } from '../persist/repository.ts';
import type { Vault } from '../vault/vault.ts';
import { exportRows } from './exportRows.ts';
import { type BackupHeader, encodeHeader, keyCheck, payloadKey, type ScryptParameters } from './header.ts';
import { encodeRow } from './rows.ts';
import { sealChunks } from './sealedChunks.ts';

const KEY_BYTES = 32;

/** What a backup is sealed by: a key that somebody derived from a passphrase, or one of its own under the KEK. */
export type BackupRequest = { passphrase: ScryptParameters; key: Buffer } | undefined;

/** Name of the key of a backup among what the KEK has wrapped. */
export function backupKeyName(id: string): string {
  return `backup ${id}`;
}

/** Reads what `sidekey backup` sent, which is overwritten. @throws MalformedRequest */
export function backupRequest(frame: Buffer): BackupRequest {
  try {
    const fields = decodeFields(frame);
    const key = fields.get('key');
    if (key === undefined) return undefined;
    const passphrase = JSON.parse(String(fields.get('passphrase')));
    if (key.length !== KEY_BYTES || ![passphrase.n, passphrase.r, passphrase.p].every(Number.isSafeInteger))
      throw new RangeError('the key has another length');
    const kept = secretBuffer(KEY_BYTES);
    key.copy(kept);
    return { passphrase, key: kept };
  } catch (error) {
    throw storeError('MalformedRequest', undefined, { cause: error });
  } finally {
    frame.fill(0);
  }
}

/** A sealed backup of the store, piece by piece, while it goes on working. On record in the audit, which is in it. @throws StorageFailed */
export async function* makeBackup(
  store: { repository: Repository; vault: Vault; audit: Audit; clock: Clock },
  request: BackupRequest,
  by: string,
): AsyncGenerator<Buffer> {
  const { audit, clock, repository, vault } = store;
  const createdAt = new Date(clock.nowMs()).toISOString();
  const key = request?.key ?? randomBytes(KEY_BYTES);
  try {
    const header: BackupHeader = {
      createdAt,
      key: request === undefined ? await underKek(vault, key) : { passphrase: request.passphrase },
      check: keyCheck(key),
      nonce: randomBytes(16).toString('base64'),
    };
    const encoded = encodeHeader(header);
    const payload = payloadKey(key, encoded, header.nonce);
    const under = request === undefined ? 'kek' : 'passphrase';
    await audit.record({ kind: 'store.backed-up', under, by });
    yield encoded;
    const rows = exportRows({ repository, vault, keys: request === undefined ? 'wrapped' : 'open', createdAt });
    yield* sealChunks(payload, encodedRows(rows));
    payload.fill(0);
  } finally {
    key.fill(0);
  }
}

async function* encodedRows(rows: ReturnType<typeof exportRows>): AsyncGenerator<Buffer> {
  for await (const row of rows) {
    yield encodeRow(row);
    if ('blob' in row) row.blob.fill(0);
  }
}

async function underKek(vault: Vault, key: Buffer): Promise<BackupHeader['key']> {
  const id = randomBytes(8).toString('hex');
  return { kek: { id, sealed: (await vault.sealOwn(backupKeyName(id), key)).toString('base64') } };
}
