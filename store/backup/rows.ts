import type { AuditEntry, AuditHead } from '../../api/admin.ts';
import type { CredentialRecord, IntegrationRecord } from '../../api/protocol.ts';
import { storeError } from '../errors.ts';
import type { MaterialHead, RevocationRow } from '../persist/repository.ts';

/** What a backup says of itself, first. */
export interface BackupManifest {
  createdAt: string;
  /** Of the store that was backed up; one that is restored has the next. */
  epoch: number;
  /** Whether keys are in it as they are, or under the KEK. */
  keys: 'open' | 'wrapped';
  heads: AuditHead[];
}

/** How many there are of each; the last row, and the proof that all came. */
export type BackupCounts = Record<Exclude<BackupRow['type'], 'manifest' | 'end'>, number>;

/** One row of any engine. Bytes travel beside it in `blob`, so that keys never become text. */
export type BackupRow =
  | { type: 'manifest'; manifest: BackupManifest }
  | { type: 'meta'; name: string; blob: Buffer }
  | { type: 'ownKey'; name: string; blob: Buffer }
  | { type: 'credential'; key: string; record: CredentialRecord }
  | { type: 'integration'; key: string; record: IntegrationRecord }
  /** `kekId` if the key is wrapped. */
  | { type: 'dataKey'; credential: string; kekId?: string; blob: Buffer }
  | { type: 'material'; head: MaterialHead; blob: Buffer }
  /** Leases that were ever given of a version with a bound. */
  | { type: 'leases'; credential: string; version: number; count: number }
  | { type: 'revocation'; revocation: RevocationRow }
  | { type: 'audit'; chain: string; entry: AuditEntry }
  | { type: 'end'; counts: Partial<BackupCounts> };

const PREFIX_BYTES = 8;

/** Length of the JSON, length of the blob, both. */
export function encodeRow(row: BackupRow): Buffer {
  const { blob, ...rest } = row as BackupRow & { blob?: Buffer };
  const json = Buffer.from(JSON.stringify(rest));
  const bytes = Buffer.allocUnsafe(PREFIX_BYTES + json.length + (blob?.length ?? 0));
  bytes.writeUInt32BE(json.length, 0);
  bytes.writeUInt32BE(blob?.length ?? 0, 4);
  json.copy(bytes, PREFIX_BYTES);
  blob?.copy(bytes, PREFIX_BYTES + json.length);
  return bytes;
}

/** The rows of a stream that was cut anywhere. Blobs are the receiver's, to overwrite. @throws BackupDamaged if the end is missing */
export async function* decodeRows(pieces: AsyncIterable<Buffer>): AsyncGenerator<BackupRow> {
  let held = Buffer.alloc(0);
  let ended = false;
  for await (const piece of pieces) {
    const before = held;
    held = Buffer.concat([held, piece]);
    before.fill(0);
    let at = 0;
    while (held.length - at >= PREFIX_BYTES) {
      const jsonEnd = at + PREFIX_BYTES + held.readUInt32BE(at);
      const end = jsonEnd + held.readUInt32BE(at + 4);
      if (end > held.length) break;
      if (ended) throw storeError('BackupDamaged');
      const row = JSON.parse(held.toString('utf8', at + PREFIX_BYTES, jsonEnd));
      ended = row.type === 'end';
      yield end > jsonEnd || 'blob' in row ? { ...row, blob: Buffer.from(held.subarray(jsonEnd, end)) } : row;
      at = end;
    }
    const rest = Buffer.from(held.subarray(at));
    held.fill(0);
    held = rest;
  }
  if (!ended || held.length > 0) throw storeError('BackupDamaged');
}
