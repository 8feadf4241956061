import { readFile } from 'node:fs/promises';
import { errorCode } from '../../lib/errors.ts';
import { StoreFailure } from '../link/storeFailure.ts';

/** A JWT with some claims. */
const LIMIT_BYTES = 16 * 1024;

/** The ServiceAccount token that the kubelet projects into the sidecar's container and renews there. @throws StoreFailure TokenUnreadable */
export async function podToken(file: string): Promise<string> {
  let text: string;
  try {
    text = (await readFile(file, 'latin1')).trim();
  } catch (error) {
    throw unreadable(
      `${file} cannot be read (${errorCode(error)}); the pod must project a token for the audience sidekey there`,
    );
  }
  if (!/^[\x21-\x7e]+$/.test(text) || text.length > LIMIT_BYTES) throw unreadable(`${file} does not hold a token`);
  return text;
}

function unreadable(what: string): StoreFailure {
  return new StoreFailure('TokenUnreadable', `the ServiceAccount token in ${what}`);
}
