import { lineFault, readFieldLines } from './fieldLines.ts';
import type { Fields } from './fields.ts';
import { malformed } from './malformed.ts';
import { CR, LF } from './octets.ts';

const LIMIT_BYTES = 16 * 1024;
const FIELDS_LIMIT = 100;

/** Framing, routing, controls, authentication and content format never come after the content (RFC 9110 section 6.5.1). */
const FORBIDDEN: ReadonlySet<string> = new Set([
  'age',
  'api-key',
  'authorization',
  'cache-control',
  'connection',
  'content-encoding',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'cookie',
  'date',
  'expect',
  'expires',
  'forwarded',
  'host',
  'keep-alive',
  'location',
  'max-forwards',
  'origin',
  'pragma',
  'range',
  'referer',
  'retry-after',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'vary',
  'via',
  'warning',
  'www-authenticate',
  'x-api-key',
]);
const FORBIDDEN_PREFIXES = ['accept', 'if-', 'proxy-', 'sec-', 'x-forwarded-', 'sidekey-', 'access-control-'];

/** The fields after the last chunk (RFC 9112 section 7.1.2). */
export class TrailerSection {
  #bytes: Buffer | undefined;
  #length = 0;
  /** Of the line that is being read. */
  #lineBytes = 0;
  #afterCr = false;
  #complete = false;
  #fields: Fields | undefined;

  get complete(): boolean {
    return this.#complete;
  }

  get fields(): Fields | undefined {
    return this.#fields;
  }

  /** Reads on from `offset`; returns the index after what was read, which is the section's end once it is complete. @throws MalformedMessage */
  push(chunk: Buffer, offset: number): number {
    let at = offset;
    while (at < chunk.length && !this.#complete) this.#octet(chunk[at++]!);
    return at;
  }

  #octet(octet: number): void {
    if (this.#length === LIMIT_BYTES) throw malformed(`The trailer section is larger than ${LIMIT_BYTES} bytes.`);
    if (this.#afterCr !== (octet === LF)) throw lineFault(this.#afterCr ? CR : LF);
    if (octet === LF && this.#lineBytes === 1) {
      this.#complete = true;
      if (this.#bytes !== undefined && this.#length > 1) this.#fields = this.#parse(this.#bytes);
      return;
    }
    this.#store(octet);
    this.#afterCr = octet === CR;
    this.#lineBytes = octet === LF ? 0 : this.#lineBytes + 1;
  }

  #store(octet: number): void {
    if (this.#bytes === undefined) this.#bytes = Buffer.allocUnsafeSlow(64);
    else if (this.#length === this.#bytes.length) {
      const old = this.#bytes;
      this.#bytes = Buffer.allocUnsafeSlow(old.length * 2);
      old.copy(this.#bytes);
    }
    this.#bytes[this.#length++] = octet;
  }

  #parse(bytes: Buffer): Fields {
    // Without the CR of the empty line.
    const end = this.#length - 1;
    const fields = readFieldLines(bytes, bytes.toString('latin1', 0, end), 0, 0, end, FIELDS_LIMIT);
    for (const key of fields.keys) {
      if (FORBIDDEN.has(key) || FORBIDDEN_PREFIXES.some((prefix) => key.startsWith(prefix))) {
        throw malformed('The trailer section holds a field that must come before the content.');
      }
    }
    return fields;
  }
}
