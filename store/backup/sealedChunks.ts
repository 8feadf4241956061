import { createCipheriv, createDecipheriv } from 'node:crypto';
import { storeError } from '../errors.ts';

const CHUNK_BYTES = 64 * 1024;
const TAG_BYTES = 16;

/**
 * Seals a stream in chunks of 64 KiB by AES-256-GCM. The nonce of each is its number and whether it is the last one, so that chunks can
 * neither change places nor be left out, at the end too (the STREAM construction, Hoang et al. 2015, as age has it). `key` serves one
 * stream only. Overwrites what it is given.
 */
export async function* sealChunks(key: Buffer, pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  let filled = 0;
  let number = 0;
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      // Only what comes after a full chunk says that it is not the last.
      if (filled === CHUNK_BYTES) {
        yield sealed(key, number++, false, chunk);
        filled = 0;
      }
      const copied = piece.copy(chunk, filled, at);
      at += copied;
      filled += copied;
    }
    piece.fill(0);
  }
  yield sealed(key, number, true, chunk.subarray(0, filled));
  chunk.fill(0);
}

/** The chunks as they were, each valid until the next one is asked for. @throws BackupDamaged at the first bit that differs, or if the end is missing */
export async function* openChunks(key: Buffer, pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const limit = CHUNK_BYTES + TAG_BYTES;
  let held = Buffer.alloc(0);
  let number = 0;
  for await (const piece of pieces) {
    held = Buffer.concat([held, piece]);
    while (held.length > limit) {
      yield* wiped(opened(key, number++, false, held.subarray(0, limit)));
      held = held.subarray(limit);
    }
  }
  yield* wiped(opened(key, number, true, held));
}

function* wiped(chunk: Buffer): Generator<Buffer> {
  try {
    yield chunk;
  } finally {
    chunk.fill(0);
  }
}

function sealed(key: Buffer, number: number, last: boolean, plaintext: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonceOf(number, last), { authTagLength: TAG_BYTES });
  const body = cipher.update(plaintext);
  cipher.final();
  plaintext.fill(0);
  return Buffer.concat([body, cipher.getAuthTag()]);
}

function opened(key: Buffer, number: number, last: boolean, bytes: Buffer): Buffer {
  const end = bytes.length - TAG_BYTES;
  if (end < 0) throw storeError('BackupDamaged');
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(number, last), { authTagLength: TAG_BYTES });
  decipher.setAuthTag(bytes.subarray(end));
  const plaintext = decipher.update(bytes.subarray(0, end));
  try {
    decipher.final();
  } catch (error) {
    plaintext.fill(0);
    throw storeError('BackupDamaged', undefined, { cause: error });
  }
  return plaintext;
}

function nonceOf(number: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(number, 5, 6);
  nonce[11] = last ? 1 : 0;
  return nonce;
}
