import { createHmac } from 'node:crypto';
import { open, seal } from './envelope.ts';
import { KekError, type KekKey, type WrappedKey } from './kek.ts';

export interface LocalKey extends KekKey {
  /** 32 bytes, in memory of its own. */
  bytes: Buffer;
}

/** Names a key without telling anything of it. */
export function localKeyId(key: Buffer): string {
  return createHmac('sha256', key).update('sidekey kek check value').digest('hex').slice(0, 16);
}

/** Keys in the memory of this process, as a file or a mounted Secret gave them; takes ownership of their bytes. */
export class LocalKeys {
  #keys: readonly LocalKey[] = [];

  get keys(): readonly LocalKey[] {
    return this.#keys;
  }

  has(keyId: string): boolean {
    return this.#find(keyId) !== undefined;
  }

  /** Overwrites those that it had; with `keep`, those that are not among `keys` stay, before them. Whether any stayed. */
  replace(keys: readonly LocalKey[], keep = false): boolean {
    const kept = keep ? this.#keys.filter(({ id }) => !keys.some((key) => key.id === id)) : [];
    for (const key of this.#keys) if (!kept.includes(key)) key.bytes.fill(0);
    this.#keys = [...kept, ...keys];
    return kept.length > 0;
  }

  /** @throws KekMissing */
  wrap(keyId: string, plaintext: Buffer, aad: Buffer): WrappedKey {
    return { kekId: keyId, wrapped: seal(this.#get(keyId).bytes, plaintext, aad) };
  }

  /** @throws KekMissing, KekRefused */
  unwrap(key: WrappedKey, aad: Buffer): Buffer {
    const { bytes } = this.#get(key.kekId);
    try {
      return open(bytes, key.wrapped, aad);
    } catch (error) {
      throw new KekError('KekRefused', `what was wrapped by key ${key.kekId} does not open`, { cause: error });
    }
  }

  #find(keyId: string): LocalKey | undefined {
    return this.#keys.find(({ id }) => id === keyId);
  }

  #get(keyId: string): LocalKey {
    const found = this.#find(keyId);
    if (found === undefined) throw new KekError('KekMissing', `there is no key ${keyId} here`);
    return found;
  }
}
