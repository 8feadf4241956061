import { createHmac } from 'node:crypto';
import { open, seal } from './envelope.ts';

/** The key that all other keys are wrapped by, wherever it lives: a file here, a KMS elsewhere (hence promises). */
export interface KekProvider {
  /** Names the key without telling anything of it; kept beside what it wrapped, so that a wrong key is recognised. */
  readonly keyId: string;
  wrap(plaintext: Buffer, aad: Buffer): Promise<Buffer>;
  /** The caller overwrites the result after use. @throws Error if `wrapped` or `aad` differ from what was wrapped. */
  unwrap(wrapped: Buffer, aad: Buffer): Promise<Buffer>;
}

/** A KEK held in the memory of this process; takes ownership of `key` (32 bytes). */
export function localKek(key: Buffer): KekProvider {
  return {
    keyId: createHmac('sha256', key).update('sidekey kek check value').digest('hex').slice(0, 16),
    wrap: async (plaintext, aad) => seal(key, plaintext, aad),
    unwrap: async (wrapped, aad) => open(key, wrapped, aad),
  };
}
