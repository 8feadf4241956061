import { randomBytes, type ScryptOptions, scrypt } from 'node:crypto';
import { storeError } from '../errors.ts';
import type { ScryptParameters } from './header.ts';

const KEY_BYTES = 32;
/** More than anybody needs: a file must not make us fill the memory. */
const LIMITS = { n: 2 ** 20, r: 16, p: 16 };

/** For a new backup: 128 MiB and half a second for each guess (OWASP's first choice for scrypt). */
export function newScryptParameters(): ScryptParameters {
  return { n: 2 ** 17, r: 8, p: 1, salt: randomBytes(16).toString('base64') };
}

/** Overwrites the passphrase. @throws BackupForeign for parameters that no version of ours writes */
export async function keyOfPassphrase(passphrase: Buffer, { n, r, p, salt }: ScryptParameters): Promise<Buffer> {
  const allowed = [n, r, p].every((value) => Number.isSafeInteger(value) && value > 0);
  if (!allowed || n > LIMITS.n || r > LIMITS.r || p > LIMITS.p) throw storeError('BackupForeign');
  const options = { N: n, r, p, maxmem: 256 * n * r + 256 * r * p + 2 ** 20 };
  try {
    return await derive(passphrase, Buffer.from(salt, 'base64'), KEY_BYTES, options);
  } catch (error) {
    throw storeError('BackupForeign', undefined, { cause: error });
  } finally {
    passphrase.fill(0);
  }
}

/** Not `promisify`: that loses the options in the types. */
function derive(passphrase: Buffer, salt: Buffer, bytes: number, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, bytes, options, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}
