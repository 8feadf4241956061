import type { Fields } from './fields.ts';
import { malformed } from './malformed.ts';
import type { Framing } from './message.ts';
import { CR, LF, VALUE } from './octets.ts';
import { TrailerSection } from './trailerSection.ts';

/** Of all chunk extensions of one body together, which are read and dropped (RFC 9112 section 7.1.1). */
const EXTENSIONS_LIMIT_BYTES = 16 * 1024;
/** Of one chunk's size: 2^53 has 14; the rest may be leading zeros. */
const SIZE_LIMIT_DIGITS = 32;
const SEMICOLON = 0x3b;

type State = 'size' | 'extension' | 'sizeLf' | 'data' | 'dataCr' | 'dataLf' | 'trailer';

/** Finds a body in the bytes after a head (RFC 9112 sections 6 and 7), and where it ends. */
export class BodyDecoder {
  readonly #kind: Framing['kind'];
  /** Of the body, or of the chunk. */
  #remainingBytes: number;
  #done: boolean;
  #state: State = 'size';
  #digits = 0;
  #extensionBytes = 0;
  #trailerSection: TrailerSection | undefined;

  constructor(framing: Framing) {
    this.#kind = framing.kind;
    this.#remainingBytes = framing.kind === 'length' ? framing.bytes : 0;
    this.#done = framing.kind === 'none' || (framing.kind === 'length' && framing.bytes === 0);
  }

  get done(): boolean {
    return this.#done;
  }

  /** Undefined until the body is done, and if it had none. */
  get trailers(): Fields | undefined {
    return this.#trailerSection?.fields;
  }

  /**
   * Gives each piece of payload in `chunk` from `offset` on to `sink`, as a view of `chunk`.
   *
   * Returns the index just after the body, which is the chunk's length while the body goes on.
   * @throws MalformedMessage
   */
  decode(chunk: Buffer, offset: number, sink: (piece: Buffer) => void): number {
    if (this.#done) return offset;
    switch (this.#kind) {
      case 'length': {
        const end = this.#payload(chunk, offset, sink);
        this.#done = this.#remainingBytes === 0;
        return end;
      }
      case 'chunked':
        return this.#chunks(chunk, offset, sink);
      default:
        if (offset < chunk.length) sink(offset === 0 ? chunk : chunk.subarray(offset));
        return chunk.length;
    }
  }

  /** The peer's FIN. @throws MalformedMessage if the body is not complete */
  end(): void {
    if (this.#kind === 'close') this.#done = true;
    if (!this.#done) throw malformed('The body is cut short.');
  }

  #payload(chunk: Buffer, offset: number, sink: (piece: Buffer) => void): number {
    const end = Math.min(chunk.length, offset + this.#remainingBytes);
    this.#remainingBytes -= end - offset;
    if (end > offset) sink(offset === 0 && end === chunk.length ? chunk : chunk.subarray(offset, end));
    return end;
  }

  #chunks(chunk: Buffer, offset: number, sink: (piece: Buffer) => void): number {
    let at = offset;
    while (at < chunk.length) {
      switch (this.#state) {
        case 'size':
          this.#size(chunk[at++]!);
          break;
        case 'extension':
          this.#extension(chunk[at++]!);
          break;
        case 'sizeLf':
          if (chunk[at++] !== LF) throw malformed('The line of a chunk size does not end with CRLF.');
          if (this.#remainingBytes === 0) this.#trailerSection = new TrailerSection();
          this.#state = this.#remainingBytes === 0 ? 'trailer' : 'data';
          break;
        case 'data':
          at = this.#payload(chunk, at, sink);
          if (this.#remainingBytes === 0) this.#state = 'dataCr';
          break;
        case 'dataCr':
          if (chunk[at++] !== CR) throw malformed('A chunk is longer than its size.');
          this.#state = 'dataLf';
          break;
        case 'dataLf':
          if (chunk[at++] !== LF) throw malformed('A chunk does not end with CRLF.');
          this.#state = 'size';
          this.#digits = 0;
          break;
        case 'trailer':
          at = this.#trailerSection!.push(chunk, at);
          if (!this.#trailerSection!.complete) break;
          this.#done = true;
          return at;
      }
    }
    return at;
  }

  #size(octet: number): void {
    const digit = hexDigit(octet);
    if (digit >= 0) {
      if (++this.#digits > SIZE_LIMIT_DIGITS) throw malformed('A chunk size has too many digits.');
      if (this.#remainingBytes > (Number.MAX_SAFE_INTEGER - digit) / 16) throw malformed('A chunk size is too large.');
      this.#remainingBytes = this.#remainingBytes * 16 + digit;
      return;
    }
    if (this.#digits === 0) throw malformed('A chunk has no size.');
    if (octet === CR) this.#state = 'sizeLf';
    else if (octet === SEMICOLON) this.#state = 'extension';
    else throw malformed('A chunk size is not a hexadecimal number.');
  }

  #extension(octet: number): void {
    if (octet === CR) this.#state = 'sizeLf';
    else if (VALUE[octet] !== 1) throw malformed('A control byte stands in a chunk extension.');
    else if (++this.#extensionBytes > EXTENSIONS_LIMIT_BYTES) throw malformed('The chunk extensions are too long.');
  }
}

function hexDigit(octet: number): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30;
  const lower = octet | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
