import { createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { storeError } from '../errors.ts';

const MAGIC = Buffer.from('sidekey backup 1\n');
const HEADER_LIMIT_BYTES = 16 * 1024;

/** scrypt (RFC 7914) as a passphrase becomes a key; `salt` in base64. */
export interface ScryptParameters {
  n: number;
  r: number;
  p: number;
  salt: string;
}

/** What stands in the clear before the sealed part: how to get at the key. */
export interface BackupHeader {
  createdAt: string;
  /** A passphrase, or the KEK that the store had: `sealed` in base64. */
  key: { passphrase: ScryptParameters } | { kek: { id: string; sealed: string } };
  /** Tells a wrong key from a damaged file. */
  check: string;
  /** 16 random bytes in base64: no two backups are sealed by one key. */
  nonce: string;
}

export function encodeHeader(header: BackupHeader): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(json.length);
  return Buffer.concat([MAGIC, length, json]);
}

/** The header that a file begins with, and how many bytes it takes. @throws BackupForeign */
export function decodeHeader(start: Buffer): { header: BackupHeader; bytes: number } {
  const at = MAGIC.length + 4;
  if (start.length < at || !start.subarray(0, MAGIC.length).equals(MAGIC)) throw storeError('BackupForeign');
  const bytes = at + start.readUInt32BE(MAGIC.length);
  if (bytes > HEADER_LIMIT_BYTES || bytes > start.length) throw storeError('BackupForeign');
  try {
    return { header: JSON.parse(start.toString('utf8', at, bytes)), bytes };
  } catch (error) {
    throw storeError('BackupForeign', undefined, { cause: error });
  }
}

/** Longest start of a file that its header can take. */
export const HEADER_BYTES = HEADER_LIMIT_BYTES;

export function keyCheck(key: Buffer): string {
  return createHmac('sha256', key).update('sidekey backup check').digest('base64');
}

/** @throws BackupWrongKey */
export function requireKey(header: BackupHeader, key: Buffer): void {
  const [a, b] = [header.check, keyCheck(key)].map((text) => createHash('sha256').update(String(text)).digest());
  if (!timingSafeEqual(a!, b!)) throw storeError('BackupWrongKey');
}

/** The key of the sealed part (HKDF, RFC 5869): another one for each header, so that not a bit of it can be changed. */
export function payloadKey(key: Buffer, encodedHeader: Buffer, nonce: string): Buffer {
  const info = Buffer.concat([
    Buffer.from('sidekey backup payload\0'),
    createHash('sha256').update(encodedHeader).digest(),
  ]);
  return Buffer.from(hkdfSync('sha256', key, Buffer.from(nonce, 'base64'), info, 32));
}
