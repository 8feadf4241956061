import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/** First byte of everything sealed, so that another layout can follow one day. */
const LAYOUT = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES;
export const KEY_BYTES = 32;

/**
 * AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce: layout byte, nonce, ciphertext, tag.
 *
 * `aad` says what the plaintext is and where it belongs; only `open` with the same bytes gives it back. `nonce` is for tests
 * against published vectors alone.
 */
export function seal(key: Buffer, plaintext: Buffer, aad: Buffer, nonce: Buffer = randomBytes(NONCE_BYTES)): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(aad);
  const body = cipher.update(plaintext);
  return Buffer.concat([Buffer.of(LAYOUT), nonce, body, cipher.final(), cipher.getAuthTag()]);
}

/** The plaintext in a Buffer of its own, which the caller overwrites after use. @throws Error if a bit of anything differs. */
export function open(key: Buffer, sealed: Buffer, aad: Buffer): Buffer {
  if (sealed.length < OVERHEAD_BYTES || sealed[0] !== LAYOUT) throw new Error('not a sealed value');
  const tagStart = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(1, 1 + NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(tagStart));
  const plaintext = decipher.update(sealed.subarray(1 + NONCE_BYTES, tagStart));
  try {
    decipher.final();
  } catch (error) {
    plaintext.fill(0);
    throw error;
  }
  return plaintext;
}
