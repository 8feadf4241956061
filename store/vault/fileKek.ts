import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { errorText } from '../../lib/errors.ts';
import { secretBuffer } from '../../lib/secretBuffer.ts';
import { KEY_BYTES } from './envelope.ts';
import type { KekKey, KekProvider, WrappedKey } from './kek.ts';
import { readKekFile, removePreviousKekFile, replaceKekFile } from './kekFile.ts';
import { LocalKeys, localKeyId } from './localKeys.ts';

/** Keys in a file for its owner alone. Whoever runs the store keeps a copy of it elsewhere. */
export class FileKek implements KekProvider {
  readonly kind = 'file';
  readonly remote = false;
  /** A file that is not there is not coming by itself. */
  readonly returns = false;
  readonly where: string;
  readonly #keys = new LocalKeys();
  #seen: string | undefined;
  #trouble: string | undefined;

  /** @throws KekMissing, KekExposed, KekMalformed, as errors of the store */
  constructor(path: string) {
    this.where = path;
    this.#read(false);
  }

  get trouble(): string | undefined {
    return this.#trouble;
  }

  get keys(): readonly KekKey[] {
    return this.#keys.keys.map(({ id, createdAtMs }) => ({ id, ...(createdAtMs !== undefined && { createdAtMs }) }));
  }

  knows(keyId: string): boolean {
    return this.#keys.has(keyId);
  }

  /**
   * Reads the file if it has changed: one that another replica has rotated to, copied here, counts without a restart. What is in
   * memory is not lost with the file, nor to a broken one.
   */
  async health(keep = false): Promise<void> {
    if (markOf(this.where) === this.#seen) return;
    try {
      this.#read(keep);
      this.#trouble = undefined;
    } catch (error) {
      // As long as the keys in memory are the right ones, nothing is amiss; when they are not, the store is sealed and says so.
      this.#trouble = errorText(error);
    }
  }

  async wrap(keyId: string, plaintext: Buffer, aad: Buffer): Promise<WrappedKey> {
    return this.#keys.wrap(keyId, plaintext, aad);
  }

  async unwrap(key: WrappedKey, aad: Buffer): Promise<Buffer> {
    return this.#keys.unwrap(key, aad);
  }

  async makeKey(): Promise<string> {
    const bytes = secretBuffer(KEY_BYTES);
    const random = randomBytes(KEY_BYTES);
    random.copy(bytes);
    random.fill(0);
    const made = { id: localKeyId(bytes), createdAtMs: Date.now(), bytes };
    replaceKekFile(this.where, [...this.#keys.keys, made]);
    this.#read(false);
    bytes.fill(0);
    return made.id;
  }

  async retire(keep: ReadonlySet<string>): Promise<void> {
    const kept = this.#keys.keys.filter(({ id }) => keep.has(id));
    if (kept.length < this.#keys.keys.length) {
      replaceKekFile(this.where, kept);
      this.#read(false);
    }
    removePreviousKekFile(this.where);
  }

  close(): void {
    this.#keys.replace([]);
  }

  #read(keep: boolean): void {
    const mark = markOf(this.where);
    const kept = this.#keys.replace(readKekFile(this.where), keep);
    this.#seen = kept ? undefined : mark;
  }
}

/** Differs when the file was replaced or written. */
function markOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat && `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`;
}
