/** More than any client sends, key shares of post-quantum groups included. */
const LIMIT_BYTES = 32 * 1024;
/** ContentType handshake of a TLS record (RFC 8446 section 5.1), with which every connection begins. */
export const TLS_HANDSHAKE = 0x16;
/** HandshakeType. */
const CLIENT_HELLO = 1;
const RECORD_HEADER = 5;
const HANDSHAKE_HEADER = 4;
/** RFC 8446 section 5.1. */
const RECORD_LIMIT = 16_384;
/** Clients send one, or two where a middlebox wants that. */
const RECORDS_LIMIT = 64;
const RANDOM = 32;
const SERVER_NAME = 0;
const HOST_NAME = 0;

export type HelloProgress =
  | { kind: 'incomplete' }
  /** `serverName` in lower case, as it was sent otherwise; undefined if there is none. */
  | { kind: 'hello'; serverName: string | undefined }
  | { kind: 'malformed'; why: string };

const INCOMPLETE: HelloProgress = { kind: 'incomplete' };

/**
 * Reads the server name out of the ClientHello with which a TLS connection begins (RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3),
 * in as many records and chunks as it may come. Of encrypted client hellos it sees the outer one.
 *
 * Strict, so that it never takes another name than the TLS library that reads the same bytes afterwards: lengths must fit exactly, no
 * extension may come twice, and the list of names has one.
 */
export class ClientHelloReader {
  #own: Buffer | undefined;
  #length = 0;
  /** Fewer bytes than this cannot be all of it: they are not looked at. */
  #needed = RECORD_HEADER;
  /** All that came. */
  bytes: Buffer = Buffer.alloc(0);

  /** Takes a chunk in, which may be memory that is used again. After it has told the end, what follows is to `keep`. */
  push(chunk: Buffer): HelloProgress {
    this.keep(chunk);
    if (this.#length < this.#needed) return INCOMPLETE;
    try {
      const body = this.#handshake();
      return body === undefined ? INCOMPLETE : { kind: 'hello', serverName: serverNameOf(body) };
    } catch (error) {
      if (error instanceof Malformed) return { kind: 'malformed', why: error.message };
      throw error;
    }
  }

  /** Adds what follows the ClientHello to `bytes`. */
  keep(chunk: Buffer): void {
    const used = this.#length;
    this.#length += chunk.length;
    if (this.#own === undefined || this.#length > this.#own.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(1024, 2 * this.#length));
      this.#own?.copy(larger, 0, 0, used);
      this.#own = larger;
    }
    chunk.copy(this.#own, used);
    this.bytes = this.#own.subarray(0, this.#length);
  }

  /** The body of the handshake message, out of the records that carry it; undefined if it is not all there. @throws Malformed */
  #handshake(): Buffer | undefined {
    const { bytes } = this;
    const pieces: Buffer[] = [];
    let gathered = 0;
    let wanted = HANDSHAKE_HEADER;
    for (let at = 0; ; ) {
      this.#needed = at + RECORD_HEADER;
      if (bytes.length < this.#needed) return undefined;
      const length = checkedRecord(bytes, at);
      this.#needed += length;
      if (this.#needed > LIMIT_BYTES) throw new Malformed(`the ClientHello is larger than ${LIMIT_BYTES} bytes`);
      if (bytes.length < this.#needed) return undefined;
      if (pieces.length === RECORDS_LIMIT)
        throw new Malformed(`the ClientHello comes in more than ${RECORDS_LIMIT} records`);
      pieces.push(bytes.subarray(at + RECORD_HEADER, this.#needed));
      gathered += length;
      at = this.#needed;
      if (gathered < wanted) continue;
      const message = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
      if (message[0] !== CLIENT_HELLO) throw new Malformed('the first handshake message is no ClientHello');
      wanted = HANDSHAKE_HEADER + message.readUIntBE(1, 3);
      if (gathered === wanted) return message.subarray(HANDSHAKE_HEADER);
      if (gathered > wanted) throw new Malformed('something follows the ClientHello in its record');
    }
  }
}

/** A ClientHello that cannot be read. */
class Malformed extends Error {}

/** Length of the record's fragment. */
function checkedRecord(bytes: Buffer, at: number): number {
  const length = bytes.readUInt16BE(at + 3);
  if (bytes[at] !== TLS_HANDSHAKE || bytes[at + 1] !== 3 || bytes[at + 2]! > 4)
    throw new Malformed('a record is no TLS handshake');
  if (length === 0 || length > RECORD_LIMIT) throw new Malformed(`a handshake record has ${length} bytes`);
  return length;
}

function serverNameOf(body: Buffer): string | undefined {
  const hello = new Reader(body);
  // SSL 2 and what might come after TLS 1.3 do not look like this.
  if (hello.take(2)[0] !== 3) throw new Malformed('the ClientHello has an unknown version');
  hello.take(RANDOM);
  if (hello.vector(1).length > 32) throw new Malformed('the session id is too long');
  const suites = hello.vector(2);
  if (suites.length === 0 || suites.length % 2 !== 0) throw new Malformed('the list of cipher suites is broken');
  if (hello.vector(1).length === 0) throw new Malformed('there is no compression method');
  // Before TLS 1.3 a client could do without any.
  if (hello.atEnd) return undefined;
  const extensions = new Reader(hello.vector(2));
  hello.finish();
  const seen = new Set<number>();
  let name: string | undefined;
  while (!extensions.atEnd) {
    const type = extensions.take(2).readUInt16BE();
    if (seen.has(type)) throw new Malformed(`extension ${type} comes twice`);
    seen.add(type);
    const data = extensions.vector(2);
    if (type === SERVER_NAME) name = hostNameOf(data);
  }
  return name;
}

function hostNameOf(data: Buffer): string {
  const extension = new Reader(data);
  const list = new Reader(extension.vector(2));
  extension.finish();
  if (list.take(1)[0] !== HOST_NAME) throw new Malformed('the server name is no host name');
  const name = list.vector(2);
  // A list may have one name of each type, and there is but one type.
  list.finish();
  if (name.length === 0 || name.length > 255 || name.some((byte) => byte <= 0x20 || byte >= 0x7f))
    throw new Malformed('the server name is no host name');
  return name.toString('latin1').toLowerCase();
}

/** Cuts vectors (RFC 8446 section 3.4) off a buffer. @throws Malformed where they do not fit */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new Malformed('a length does not fit');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  /** What follows a length of that many bytes. */
  vector(lengthBytes: 1 | 2): Buffer {
    return this.take(this.take(lengthBytes).readUIntBE(0, lengthBytes));
  }

  finish(): void {
    if (!this.atEnd) throw new Malformed('something follows where nothing may');
  }
}
