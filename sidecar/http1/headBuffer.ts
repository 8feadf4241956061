import { lineFault } from './fieldLines.ts';
import { MalformedMessage, malformed } from './malformed.ts';
import { CR, LF, TOKEN } from './octets.ts';

const HEAD_END = '\r\n\r\n';
const PREFACE = 'PRI * HTTP/2.0';
const NOTHING = Buffer.alloc(0);

/**
 * Gathers bytes until a head is complete; a head that comes in one chunk is not copied.
 *
 * However the bytes are cut into chunks, the same bytes give the same answer.
 */
export class HeadBuffer {
  readonly #limitBytes: number;
  /** Our own copy, of which `#length` bytes are used, once a head did not come in one chunk. */
  #own: Buffer | undefined;
  #length = 0;
  /** All bytes so far; after `headEnd` they belong to what follows the head. Views of it stay valid after `reset`. */
  bytes: Buffer = NOTHING;
  /** Where the head begins: after the one empty line that a client may send first (RFC 9112 section 2.2). */
  headStart = 0;
  /** The index after the head's empty line; 0 until that was found. */
  headEnd = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** Whether nothing of a head has come yet. */
  get empty(): boolean {
    return this.#length === 0 || (this.#length <= 2 && this.bytes[0] === CR);
  }

  /** True once the head's end was found. @throws MalformedMessage */
  push(chunk: Buffer): boolean {
    if (chunk.length === 0) return false;
    const before = this.#length;
    this.#append(chunk);
    const { bytes } = this;
    this.#checkStart(bytes);
    const found = bytes.indexOf(HEAD_END, Math.max(0, before - 3), 'latin1');
    if (found !== -1 && found + 4 <= this.#limitBytes) {
      this.headEnd = found + 4;
      return true;
    }
    // A peer that ends its lines with LF alone would have us wait for ever.
    refuseBareLf(bytes, before, Math.min(bytes.length, this.#limitBytes));
    if (bytes.length > this.#limitBytes) {
      throw new MalformedMessage('HeadTooLarge', `The head is larger than ${this.#limitBytes} bytes.`);
    }
    // The chunk may be memory that is used again for the next one.
    if (this.#own === undefined) this.#copy(bytes);
    return false;
  }

  reset(): void {
    this.#own = undefined;
    this.#length = 0;
    this.bytes = NOTHING;
    this.headStart = 0;
    this.headEnd = 0;
  }

  #append(chunk: Buffer): void {
    this.#length += chunk.length;
    if (this.#own === undefined) {
      this.bytes = chunk;
      return;
    }
    const used = this.#length - chunk.length;
    if (this.#length > this.#own.length) {
      const old = this.#own;
      this.#own = Buffer.allocUnsafeSlow(this.#length * 2);
      old.copy(this.#own, 0, 0, used);
      // Nobody has seen it, and an answer may echo material.
      old.fill(0);
    }
    chunk.copy(this.#own, used);
    this.bytes = this.#own.subarray(0, this.#length);
  }

  #copy(bytes: Buffer): void {
    this.#own = Buffer.allocUnsafeSlow(Math.max(1024, bytes.length * 2));
    bytes.copy(this.#own);
    this.bytes = this.#own.subarray(0, bytes.length);
  }

  #checkStart(bytes: Buffer): void {
    let start = 0;
    if (bytes[0] === CR) {
      if (bytes.length === 1) return;
      if (bytes[1] !== LF) throw lineFault(CR);
      start = 2;
    }
    this.headStart = start;
    const first = bytes[start];
    if (first === undefined) return;
    // Such as the first byte of a TLS handshake, which would never come to a head's end.
    if (TOKEN[first] !== 1) throw malformed('The head does not begin with a token.');
    if (
      first === 0x50 &&
      bytes[start + 1] === 0x52 &&
      bytes.toString('latin1', start, start + PREFACE.length) === PREFACE
    ) {
      throw new MalformedMessage('Http2NotSupported', 'The connection begins with the preface of HTTP/2.');
    }
  }
}

function refuseBareLf(bytes: Buffer, from: number, end: number): void {
  let at = bytes.indexOf(LF, from);
  while (at !== -1 && at < end) {
    if (bytes[at - 1] !== CR) throw lineFault(LF);
    at = bytes.indexOf(LF, at + 1);
  }
}
