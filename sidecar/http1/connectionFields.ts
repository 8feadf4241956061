import type { Fields } from './fields.ts';
import { malformed } from './malformed.ts';
import type { Framing } from './message.ts';
import { consistsOf, TOKEN } from './octets.ts';

/** What Connection must never name: without these a message means something else, or is nobody's any more. */
const PROTECTED: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'content-type',
  'content-encoding',
  'content-range',
  'authorization',
  'www-authenticate',
  'authentication-info',
  'cookie',
  'set-cookie',
  'origin',
  'referer',
  'forwarded',
  'via',
  'date',
  'digest',
  'content-digest',
  'signature',
  'signature-input',
  'cache-control',
  'expect',
  'range',
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
  'if-range',
  'idempotency-key',
  'strict-transport-security',
  'content-security-policy',
  'x-api-key',
  'api-key',
  'location',
]);
const PROTECTED_PREFIXES = ['sec-', 'x-forwarded-', 'x-amz-', 'x-csrf-', 'access-control-', 'sidekey-'];

/**
 * Takes out of a head's fields those that concern this connection only (RFC 9110 section 7.6.1) and those that frame the
 * body, and keeps what they say.
 */
export class ConnectionFields {
  host: string | undefined;
  contentLength: string | undefined;
  transferEncoding: string | undefined;
  expect: string | undefined;
  keepAlive: string | undefined;
  /** Connection listed it. */
  closes = false;
  /** Connection listed it. */
  keeps = false;
  upgrade: string | undefined;
  #connection: string | undefined;
  #upgrade: string | undefined;
  #trailer = false;

  /** @throws MalformedMessage */
  constructor(fields: Fields, side: 'request' | 'response') {
    let kept = 0;
    for (let at = 0; at < fields.length; at++) {
      if (!this.#take(fields.keys[at]!, fields.values[at]!, side)) fields.move(at, kept++);
    }
    fields.truncate(kept);
    if (this.#connection !== undefined) this.#readConnection(this.#connection, fields);
    if (this.#trailer && (this.transferEncoding === undefined || !validTrailer(fields))) fields.drop(TRAILER);
  }

  /** The framing that Content-Length or Transfer-Encoding states; undefined without either. @throws MalformedMessage */
  framing(minorVersion: 0 | 1): Framing | undefined {
    if (this.transferEncoding !== undefined) {
      if (this.contentLength !== undefined) throw malformed('Content-Length and Transfer-Encoding are both present.');
      if (minorVersion === 0) throw malformed('Transfer-Encoding is not part of HTTP/1.0.');
      if (this.transferEncoding.toLowerCase() !== 'chunked') throw malformed('Transfer-Encoding is not "chunked".');
      return { kind: 'chunked', bytes: 0 };
    }
    return this.contentLength === undefined ? undefined : { kind: 'length', bytes: lengthOf(this.contentLength) };
  }

  /** Whether the field goes no further. */
  #take(key: string, value: string, side: 'request' | 'response'): boolean {
    if (key.charCodeAt(0) === 0x70 && key.startsWith('proxy-')) return true;
    // By length first: that settles nearly all fields without a comparison.
    switch (key.length) {
      case 2:
        return key === 'te';
      case 4:
        if (key !== 'host' || side === 'response') return false;
        if (this.host !== undefined) throw malformed('There are several Host fields.');
        this.host = value;
        return true;
      case 6:
        if (key !== 'expect' || side === 'response') return false;
        if (this.expect !== undefined) throw malformed('There are several Expect fields.');
        this.expect = value;
        return true;
      case 7:
        if (key === 'trailer') this.#trailer = true;
        if (key !== 'upgrade') return false;
        this.#upgrade = joined(this.#upgrade, value);
        return true;
      case 10:
        if (key === 'keep-alive') this.keepAlive = joined(this.keepAlive, value);
        else if (key === 'connection') this.#connection = joined(this.#connection, value);
        else return false;
        return true;
      case 14:
        if (key !== 'content-length') return false;
        if (this.contentLength !== undefined) throw malformed('There are several Content-Length fields.');
        this.contentLength = value;
        return true;
      case 17:
        if (key !== 'transfer-encoding') return false;
        if (this.transferEncoding !== undefined) throw malformed('There are several Transfer-Encoding fields.');
        this.transferEncoding = value;
        return true;
      default:
        return false;
    }
  }

  #readConnection(list: string, fields: Fields): void {
    // What nearly all messages say.
    if (list === 'keep-alive') {
      this.keeps = true;
      return;
    }
    let named: Set<string> | undefined;
    for (const element of list.toLowerCase().split(',')) {
      const option = element.trim();
      if (option === 'close') this.closes = true;
      else if (option === 'keep-alive') this.keeps = true;
      else if (option === 'upgrade') this.upgrade = this.#upgrade?.toLowerCase() || undefined;
      else if (option !== '') {
        if (!consistsOf(option, TOKEN)) throw malformed('Connection is not a list of tokens.');
        if (PROTECTED.has(option) || PROTECTED_PREFIXES.some((prefix) => option.startsWith(prefix))) {
          throw malformed('Connection names a field that is not about the connection.');
        }
        named ??= new Set();
        named.add(option);
      }
    }
    if (named !== undefined) fields.drop(named);
  }
}

const TRAILER: ReadonlySet<string> = new Set(['trailer']);

function joined(before: string | undefined, value: string): string {
  return before === undefined ? value : `${before}, ${value}`;
}

function validTrailer(fields: Fields): boolean {
  return fields.keys.every(
    (key, at) => key !== 'trailer' || fields.values[at]!.split(',').every((name) => consistsOf(name.trim(), TOKEN)),
  );
}

/** 1*DIGIT (RFC 9110 section 8.6) that a JavaScript number holds exactly. */
function lengthOf(text: string): number {
  let bytes = 0;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) throw malformed('Content-Length is not a number.');
    if (bytes > (Number.MAX_SAFE_INTEGER - digit) / 10) throw malformed('Content-Length is too large.');
    bytes = bytes * 10 + digit;
  }
  if (text === '') throw malformed('Content-Length is not a number.');
  return bytes;
}
