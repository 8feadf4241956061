import type { SecretBuffers } from './secretBuffers.ts';

const UNRESERVED = new Uint8Array(256);
for (const byte of Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~'))
  UNRESERVED[byte] = 1;
const HEX = Buffer.from('0123456789ABCDEF');

/**
 * Everything but unreserved characters as `%XX` (RFC 3986 section 2), which paths, queries and forms all read alike.
 *
 * Gives `bytes` itself if there is nothing to encode.
 */
export function percentEncoded(bytes: Buffer, secrets: SecretBuffers): Buffer {
  let size = 0;
  for (let i = 0; i < bytes.length; i++) size += UNRESERVED[bytes[i]!] === 1 ? 1 : 3;
  if (size === bytes.length) return bytes;
  const encoded = secrets.alloc(size);
  let at = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (UNRESERVED[byte] === 1) {
      encoded[at++] = byte;
    } else {
      encoded[at++] = 0x25;
      encoded[at++] = HEX[byte >> 4]!;
      encoded[at++] = HEX[byte & 15]!;
    }
  }
  return encoded;
}
