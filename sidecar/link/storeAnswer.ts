import type { StoreError } from '../../api/protocol.ts';
import { secretBuffer } from '../../lib/secretBuffer.ts';
import type { Fields } from '../http1/fields.ts';
import type { ResponseHead } from '../http1/message.ts';
import { StoreFailure, UNREACHABLE } from './storeFailure.ts';

/** More than any answer of the store but its event stream: 64 KiB of material, or some PEM. */
const BODY_LIMIT_BYTES = 256 * 1024;

/** A whole answer of the store. Its body is a Buffer of its own, for the receiver to overwrite. */
export interface StoreAnswer {
  readonly status: number;
  readonly fields: Fields;
  readonly body: Buffer;
}

/** Gathers an answer. What it replaces or gives up it overwrites, for it may be material. */
export class AnswerBuffer {
  #head: ResponseHead | undefined;
  #body: Buffer = secretBuffer(0);
  #length = 0;

  /** @throws Error if the answer is too large */
  head(head: ResponseHead): void {
    this.#head = head;
    if (head.framing.kind === 'length') this.#grow(head.framing.bytes);
  }

  /** @throws Error if the answer is too large */
  piece(piece: Buffer): void {
    if (this.#length + piece.length > this.#body.length) this.#grow(2 * (this.#length + piece.length));
    this.#length += piece.copy(this.#body, this.#length);
  }

  /** The answer if it is a success. @throws StoreFailure with the store's code */
  take(): StoreAnswer {
    const { status, fields } = this.#head!;
    const body = this.#body.subarray(0, this.#length);
    if (status >= 200 && status < 300) return { status, fields, body };
    throw storeFailure(status, fields, body);
  }

  discard(): void {
    this.#body.fill(0);
  }

  #grow(bytes: number): void {
    if (bytes > 2 * BODY_LIMIT_BYTES || this.#length > BODY_LIMIT_BYTES) throw new Error('the answer is too large');
    const larger = secretBuffer(bytes);
    this.#body.copy(larger, 0, 0, this.#length);
    this.#body.fill(0);
    this.#body = larger;
  }
}

/** An answer that is no success, as a StoreFailure. */
export function storeFailure(status: number, fields: Fields, body: Buffer): StoreFailure {
  const retryAfter = Number(fields.get('retry-after') ?? Number.NaN);
  const retryAfterSeconds = Number.isSafeInteger(retryAfter) && retryAfter >= 0 ? retryAfter : undefined;
  try {
    const { code, message } = JSON.parse(body.toString()) as StoreError;
    if (typeof code === 'string') return new StoreFailure(code, `${code}: ${message}`, { retryAfterSeconds, status });
  } catch {
    // Not the store, or not well: the status is all there is.
  }
  return new StoreFailure(UNREACHABLE, `the store answered ${status}`, { retryAfterSeconds, status });
}
