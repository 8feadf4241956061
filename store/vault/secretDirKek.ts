import { closeSync, type Dirent, fstatSync, openSync, readdirSync, readlinkSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, errorText } from '../../lib/errors.ts';
import { secretBuffer } from '../../lib/secretBuffer.ts';
import { KEY_BYTES } from './envelope.ts';
import { KekError, type KekKey, type KekProvider, type WrappedKey } from './kek.ts';
import { localKey } from './kekFile.ts';
import { type LocalKey, LocalKeys, localKeyId } from './localKeys.ts';

const FILE_LIMIT_BYTES = 64;
const BASE64 = /^[A-Za-z0-9+/]{43}=\n?$/;
const byName = new Intl.Collator('en', { numeric: true });

/**
 * Keys in a Kubernetes Secret that is mounted as a directory: one key a file, 32 bytes or those in base64. The last by name wraps
 * (`kek-2` after `kek-1`, `kek-10` after both), all unwrap; what the kubelet puts there later counts from the next look on.
 */
export class SecretDirKek implements KekProvider {
  readonly kind = 'secret';
  readonly remote = false;
  readonly returns = true;
  readonly where: string;
  readonly #keys = new LocalKeys();
  #seen: string | undefined;

  constructor(dir: string) {
    this.where = dir;
  }

  get keys(): readonly KekKey[] {
    return this.#keys.keys.map(({ id, createdAtMs }) => ({ id, ...(createdAtMs !== undefined && { createdAtMs }) }));
  }

  knows(keyId: string): boolean {
    return this.#keys.has(keyId);
  }

  /** Reads the directory if it has changed. Keys that were read stay in use until it holds others: a broken change ends nothing. */
  async health(keep = false): Promise<void> {
    const names = this.#names();
    const mark = this.#mark(names);
    if (mark === this.#seen) return;
    const keys: LocalKey[] = [];
    try {
      for (const name of names) keys.push(readKey(join(this.where, name)));
    } catch (error) {
      for (const { bytes } of keys) bytes.fill(0);
      throw error;
    }
    const kept = this.#keys.replace(keys, keep);
    this.#seen = kept ? undefined : mark;
  }

  async wrap(keyId: string, plaintext: Buffer, aad: Buffer): Promise<WrappedKey> {
    return this.#keys.wrap(keyId, plaintext, aad);
  }

  async unwrap(key: WrappedKey, aad: Buffer): Promise<Buffer> {
    return this.#keys.unwrap(key, aad);
  }

  close(): void {
    this.#keys.replace([]);
    this.#seen = undefined;
  }

  #names(): string[] {
    let entries: Dirent[];
    try {
      entries = readdirSync(this.where, { withFileTypes: true });
    } catch (error) {
      throw new KekError('KekMissing', `${this.where} cannot be read (${errorCode(error)}): mount the Secret there`);
    }
    // `..data` and the directory that it points to are the kubelet's own.
    const names = entries
      .filter((entry) => !entry.name.startsWith('.') && !entry.isDirectory())
      .map(({ name }) => name);
    if (names.length === 0) throw new KekError('KekMissing', `${this.where} holds no key: mount the Secret there`);
    return names.sort(byName.compare);
  }

  /** Differs when anything was changed: the kubelet swaps `..data` for another directory. */
  #mark(names: readonly string[]): string {
    let data = '';
    try {
      data = readlinkSync(join(this.where, '..data'));
    } catch {
      // Not from a kubelet: the files alone say.
    }
    try {
      const files = names.map((name) => {
        const { ino, size, mtimeMs } = statSync(join(this.where, name));
        return `${name} ${ino} ${size} ${mtimeMs}`;
      });
      return [data, ...files].join('\n');
    } catch (error) {
      throw new KekError('KekMissing', `${this.where} is being changed: ${errorText(error)}`);
    }
  }
}

/** @throws KekExposed, KekMalformed, KekMissing */
function readKey(path: string): LocalKey {
  const buffer = Buffer.alloc(FILE_LIMIT_BYTES);
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const { mode, mtimeMs } = fstatSync(descriptor);
    // The group may read: that is how fsGroup hands a Secret to a process that is not root.
    if ((mode & 0o027) !== 0)
      throw new KekError(
        'KekExposed',
        `${path} is open to others (mode 0${(mode & 0o777).toString(8)}): set defaultMode 0440 or 0400 on the Secret's volume`,
      );
    const content = buffer.subarray(0, readSync(descriptor, buffer, 0, buffer.length, 0));
    if (content.length === KEY_BYTES) return rawKey(content, mtimeMs);
    if (BASE64.test(content.toString('latin1'))) return localKey(content.subarray(0, 44), mtimeMs);
    throw new KekError('KekMalformed', `${path} is neither 32 bytes nor those in base64`);
  } catch (error) {
    if (error instanceof KekError) throw error;
    throw new KekError('KekMissing', `${path} cannot be read (${errorCode(error)})`, { cause: error });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
    buffer.fill(0);
  }
}

function rawKey(content: Buffer, createdAtMs: number): LocalKey {
  const bytes = secretBuffer(KEY_BYTES);
  content.copy(bytes);
  return { id: localKeyId(bytes), createdAtMs, bytes };
}
