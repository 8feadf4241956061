import { randomFillSync } from 'node:crypto';
import { DEFAULT_FIELD, encodeFields } from '../../api/fields.ts';
import type { CredentialRecord } from '../../api/protocol.ts';
import { secretBuffer } from '../../lib/secretBuffer.ts';

const ALPHABETS = {
  Base64URL: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_',
  Hex: '0123456789abcdef',
  Alphanumeric: 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789',
} as const;

export type GenerationPolicy = NonNullable<CredentialRecord['generated']>;

/** A frame with one new random value that holds at least `bytes` bytes of entropy; the caller overwrites it after use. */
export function generateFrame(policy: Pick<GenerationPolicy, 'bytes' | 'encoding'>): Buffer {
  const alphabet = Buffer.from(ALPHABETS[policy.encoding], 'latin1');
  const value = secretBuffer(Math.ceil((policy.bytes * 8) / Math.log2(alphabet.length)));
  fillFrom(alphabet, value);
  try {
    return encodeFields([[DEFAULT_FIELD, value]]);
  } finally {
    value.fill(0);
  }
}

/** Draws each character evenly: random bytes at or above the largest multiple of the alphabet's size are drawn again. */
function fillFrom(alphabet: Buffer, value: Buffer): void {
  const bound = 256 - (256 % alphabet.length);
  const random = secretBuffer(64);
  let at = 0;
  while (at < value.length) {
    randomFillSync(random);
    for (const byte of random) {
      if (byte < bound && at < value.length) value[at++] = alphabet[byte % alphabet.length]!;
    }
  }
  random.fill(0);
}
