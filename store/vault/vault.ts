import { createHash, randomBytes } from 'node:crypto';
import { secretBuffer } from '../../lib/secretBuffer.ts';
import type { Transaction } from '../persist/repository.ts';
import { KEY_BYTES, open, seal } from './envelope.ts';
import { KekError, type WrappedKey } from './kek.ts';
import type { KeyCache } from './keyCache.ts';
import { KeyNotAtHand } from './keyNotAtHand.ts';
import type { Keyring } from './keyring.ts';
import { decodeOwnKey, encodeOwnKey } from './ownKeyValue.ts';

/** Name in the meta table of the id of the key that wraps what is new. */
export const KEK_ID = 'kek id';

/**
 * Envelope encryption: one data key per credential, under a KEK; each version of the material under the data key.
 *
 * What a ciphertext belongs to is its additional data: one that was flipped, moved to another credential or put in the place of
 * another version does not open.
 */
export class Vault {
  readonly keyring: Keyring;
  readonly #cache: KeyCache;
  /** Data keys that were made between two attempts of a transaction, by credential. */
  readonly #made = new Map<string, WrappedKey>();
  /** Data keys that did not open when they were fetched: what the next attempt is told, once. */
  readonly #refused = new Map<string, KekError>();

  constructor(options: { keyring: Keyring; cache: KeyCache }) {
    this.keyring = options.keyring;
    this.#cache = options.cache;
  }

  get kekId(): string {
    return this.keyring.current;
  }

  /** Under the key that the database has in force, so that none is wrapped by an old one once a rotation has begun. @throws StoreSealed, KeyNotAtHand */
  async newDataKey(tx: Transaction, credential: string): Promise<WrappedKey> {
    const kekId = (await tx.meta.get(KEK_ID))?.toString() ?? this.kekId;
    if (!this.keyring.remote(kekId)) return this.#makeDataKey(kekId, credential);
    const made = this.#made.get(credential);
    if (made?.kekId === kekId) {
      this.#made.delete(credential);
      return made;
    }
    throw new KeyNotAtHand(async () => {
      this.#made.set(credential, await this.#makeDataKey(kekId, credential));
    });
  }

  /** Whether the data key is whole and under a key that is at hand. @throws StoreSealed, KeyNotAtHand */
  async opens(dataKey: WrappedKey, credential: string): Promise<boolean> {
    try {
      return await this.#with(dataKey, credential, () => true);
    } catch (error) {
      if (error instanceof KekError) return false;
      throw error;
    }
  }

  /** @throws KekRefused, StoreSealed, KeyNotAtHand */
  sealMaterial(dataKey: WrappedKey, credential: string, version: number, frame: Buffer): Promise<Buffer> {
    return this.#with(dataKey, credential, (key) => seal(key, frame, aad('material', credential, version)));
  }

  /** The frame in a Buffer of its own, which the caller overwrites after use. @throws StoreSealed, KeyNotAtHand, Error if anything was changed */
  openMaterial(dataKey: WrappedKey, credential: string, version: number, sealed: Buffer): Promise<Buffer> {
    return this.#with(dataKey, credential, (key) => open(key, sealed, aad('material', credential, version)));
  }

  /** For the store's own keys, directly under the KEK; not within a transaction, for it may have far to go. */
  async sealOwn(name: string, plaintext: Buffer): Promise<Buffer> {
    return encodeOwnKey(await this.keyring.wrap(this.kekId, plaintext, aad('own key', name)));
  }

  async openOwn(name: string, sealed: Buffer): Promise<Buffer> {
    const key = decodeOwnKey(sealed);
    if (key === undefined) throw new KekError('KekRefused', `the ${name} is no key`);
    if (key.kekId === '') return this.keyring.unwrapByAny(key.wrapped, aad('own key', name));
    return this.keyring.unwrap(key, aad('own key', name));
  }

  /** The same data key under another KEK. */
  async rewrapDataKey(credential: string, dataKey: WrappedKey, kekId: string): Promise<WrappedKey> {
    const key = await this.keyring.unwrap(dataKey, aad('data key', credential));
    try {
      return await this.keyring.wrap(kekId, key, aad('data key', credential));
    } finally {
      key.fill(0);
    }
  }

  /** The data key itself, for a backup that is sealed as a whole; the caller overwrites it. */
  exposeDataKey(credential: string, dataKey: WrappedKey): Promise<Buffer> {
    return this.keyring.unwrap(dataKey, aad('data key', credential));
  }

  /** Wraps a data key that came out of a backup. */
  adoptDataKey(credential: string, key: Buffer): Promise<WrappedKey> {
    return this.keyring.wrap(this.kekId, key, aad('data key', credential));
  }

  async rewrapOwn(name: string, sealed: Buffer, kekId: string): Promise<Buffer> {
    const key = await this.openOwn(name, sealed);
    try {
      return encodeOwnKey(await this.keyring.wrap(kekId, key, aad('own key', name)));
    } finally {
      key.fill(0);
    }
  }

  /** Overwrites data keys that were kept long enough. */
  tick(): void {
    this.#cache.expire();
  }

  close(): void {
    this.#cache.clear();
    this.keyring.close();
  }

  async #makeDataKey(kekId: string, credential: string): Promise<WrappedKey> {
    const key = secretBuffer(KEY_BYTES);
    const random = randomBytes(KEY_BYTES);
    random.copy(key);
    random.fill(0);
    try {
      const made = await this.keyring.wrap(kekId, key, aad('data key', credential));
      if (this.keyring.remote(kekId)) this.#cache.put(cacheName(made, credential), key);
      return made;
    } finally {
      key.fill(0);
    }
  }

  async #with<T>(dataKey: WrappedKey, credential: string, use: (key: Buffer) => T): Promise<T> {
    const unwrap = () => this.keyring.unwrap(dataKey, aad('data key', credential));
    if (this.keyring.remote(dataKey.kekId)) {
      const name = cacheName(dataKey, credential);
      const refused = this.#refused.get(name);
      if (refused !== undefined && this.#refused.delete(name)) throw refused;
      const held = this.#cache.get(name);
      if (held === undefined) throw new KeyNotAtHand(() => this.#fetch(name, unwrap));
      return use(held);
    }
    const key = await unwrap();
    try {
      return use(key);
    } finally {
      key.fill(0);
    }
  }

  async #fetch(name: string, unwrap: () => Promise<Buffer>): Promise<void> {
    try {
      await this.#cache.fill(name, unwrap);
    } catch (error) {
      if (!(error instanceof KekError)) throw error;
      this.#refused.set(name, error);
    }
  }
}

/** Of what is stored, so that a data key which was changed or replaced is never taken for the one that is held. */
function cacheName({ kekId, wrapped }: WrappedKey, credential: string): string {
  return createHash('sha256').update(`${kekId}\0${credential}\0`).update(wrapped).digest('latin1');
}

/** Parts cannot run into each other: none holds a NUL. */
function aad(...parts: (string | number)[]): Buffer {
  return Buffer.from(['sidekey', ...parts].join('\0'));
}
