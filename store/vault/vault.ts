import { randomBytes } from 'node:crypto';
import { KEY_BYTES, open, seal } from './envelope.ts';
import type { KekProvider } from './kek.ts';

/** A credential's data key as it is stored: under the KEK that `kekId` names. */
export interface WrappedKey {
  kekId: string;
  wrapped: Buffer;
}

/**
 * Envelope encryption: one data key per credential, under the KEK; each version of the material under the data key.
 *
 * What a ciphertext belongs to is its additional data: one that was flipped, moved to another credential or put in the place of
 * another version does not open.
 */
export class Vault {
  readonly #kek: KekProvider;

  constructor(kek: KekProvider) {
    this.#kek = kek;
  }

  get kekId(): string {
    return this.#kek.keyId;
  }

  async newDataKey(credential: string): Promise<WrappedKey> {
    const key = randomBytes(KEY_BYTES);
    try {
      return { kekId: this.#kek.keyId, wrapped: await this.#kek.wrap(key, aad('data key', credential)) };
    } finally {
      key.fill(0);
    }
  }

  /** Whether the data key is whole and under this KEK. */
  async opens(dataKey: WrappedKey, credential: string): Promise<boolean> {
    try {
      return await this.#with(dataKey, credential, () => true);
    } catch {
      return false;
    }
  }

  sealMaterial(dataKey: WrappedKey, credential: string, version: number, frame: Buffer): Promise<Buffer> {
    return this.#with(dataKey, credential, (key) => seal(key, frame, aad('material', credential, version)));
  }

  /** The frame in a Buffer of its own, which the caller overwrites after use. @throws Error if anything was changed. */
  openMaterial(dataKey: WrappedKey, credential: string, version: number, sealed: Buffer): Promise<Buffer> {
    return this.#with(dataKey, credential, (key) => open(key, sealed, aad('material', credential, version)));
  }

  /** For the store's own keys, directly under the KEK. */
  sealOwn(name: string, plaintext: Buffer): Promise<Buffer> {
    return this.#kek.wrap(plaintext, aad('own key', name));
  }

  openOwn(name: string, sealed: Buffer): Promise<Buffer> {
    return this.#kek.unwrap(sealed, aad('own key', name));
  }

  async #with<T>(dataKey: WrappedKey, credential: string, use: (key: Buffer) => T): Promise<T> {
    const key = await this.#kek.unwrap(dataKey.wrapped, aad('data key', credential));
    try {
      return use(key);
    } finally {
      key.fill(0);
    }
  }
}

/** Parts cannot run into each other: none holds a NUL. */
function aad(...parts: (string | number)[]): Buffer {
  return Buffer.from(['sidekey', ...parts].join('\0'));
}
