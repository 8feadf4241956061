import type { SecretBuffers } from './secretBuffers.ts';

const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const PAD = 0x3d;

/** Base64 (RFC 4648 section 4) of material: from bytes to bytes, as Buffer.toString would leave it in a string. */
export function base64(bytes: Uint8Array, secrets: SecretBuffers): Buffer {
  const encoded = secrets.alloc(Math.ceil(bytes.length / 3) * 4).fill(PAD);
  const digits = Math.ceil((bytes.length * 8) / 6);
  for (let i = 0; i < digits; i++) encoded[i] = digit(bytes, i * 6);
  return encoded;
}

/**
 * What base64 of any text that has `bytes` at an offset of `shift` (0, 1 or 2, modulo 3) is sure to contain: the digits that
 * depend on no other byte.
 */
export function base64Within(bytes: Uint8Array, shift: number, secrets: SecretBuffers): Buffer {
  const first = Math.ceil((shift * 8) / 6);
  const end = Math.floor(((shift + bytes.length) * 8) / 6);
  const encoded = secrets.alloc(Math.max(0, end - first));
  for (let i = first; i < end; i++) encoded[i - first] = digit(bytes, i * 6 - shift * 8);
  return encoded;
}

/** The digit for the six bits at `bit`; bits beyond the end are zeroes. */
function digit(bytes: Uint8Array, bit: number): number {
  const at = bit >> 3;
  const pair = (bytes[at]! << 8) | (bytes[at + 1] ?? 0);
  return ALPHABET[(pair >> (10 - (bit & 7))) & 0x3f]!;
}
