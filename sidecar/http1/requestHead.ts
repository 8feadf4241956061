import { ConnectionFields } from './connectionFields.ts';
import { lineFault, readFieldLines } from './fieldLines.ts';
import { MalformedMessage, malformed } from './malformed.ts';
import { NO_BODY, type RequestHead } from './message.ts';
import { AUTHORITY, CR, consistsOf, LF, SP, TARGET, TOKEN } from './octets.ts';

const METHOD_LIMIT_BYTES = 32;
const FIELDS_LIMIT = 100;
const FORWARDED: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const VERSION_1 = 'HTTP/1.';

/**
 * Reads a request's head (RFC 9112), and takes only what every reader must read the same way.
 *
 * `start`: where the head begins; `headEnd`: the index after its empty line.
 * @throws MalformedMessage
 */
export function parseRequestHead(bytes: Buffer, start: number, headEnd: number): RequestHead {
  const text = bytes.toString('latin1', start, headEnd);
  let at = start;
  while (TOKEN[bytes[at]!] === 1) at++;
  const methodLength = at - start;
  if (bytes[at] !== SP || methodLength === 0) throw requestLineFault(bytes[at]);
  if (methodLength > METHOD_LIMIT_BYTES) throw malformed('The method is too long.');
  const targetStart = ++at;
  while (TARGET[bytes[at]!] === 1) at++;
  const targetEnd = at;
  if (bytes[at] !== SP || targetEnd === targetStart) throw requestLineFault(bytes[at]);
  const version = at + 1 - start;
  const minor = text.charCodeAt(version + VERSION_1.length);
  at += 1 + VERSION_1.length + 1;
  if (!text.startsWith(VERSION_1, version) || (minor !== 0x30 && minor !== 0x31)) {
    throw malformed('The version is neither HTTP/1.1 nor HTTP/1.0.');
  }
  if (bytes[at] !== CR || bytes[at + 1] !== LF) throw requestLineFault(bytes[at]);
  const minorVersion = minor === 0x31 ? 1 : 0;
  const method = text.substring(0, methodLength);
  const target = text.substring(targetStart - start, targetEnd - start);

  const fields = readFieldLines(bytes, text, start, at + 2, headEnd - 2, FIELDS_LIMIT);
  const connection = new ConnectionFields(fields, 'request');
  const framing = connection.framing(minorVersion) ?? NO_BODY;
  const host = checkHost(connection.host, minorVersion);
  checkTarget(method, target);
  if (connection.expect !== undefined && connection.expect.toLowerCase() !== '100-continue') {
    throw malformed('Expect is not "100-continue".');
  }
  if (method.length === 7 && method.toUpperCase() === 'CONNECT') {
    if (method !== 'CONNECT') throw malformed('The method CONNECT is not in upper case.');
    if (framing.kind === 'chunked' || framing.bytes > 0) throw malformed('CONNECT has a body.');
  }
  // Last, so that the code does not depend on how the bytes came: a bare LF is seen before the head is complete.
  if (!FORWARDED.has(method)) checkMethod(method);
  return {
    method,
    target,
    minorVersion,
    fields,
    host,
    framing,
    keepAlive: !connection.closes && (minorVersion === 1 || connection.keeps),
    // Neither means anything in HTTP/1.0 (RFC 9110 sections 7.8 and 10.1.1).
    upgrade: minorVersion === 1 ? connection.upgrade : undefined,
    expectContinue: minorVersion === 1 && connection.expect !== undefined && framing.kind !== 'none',
    text,
  };
}

/** Rules and upstreams must not see two methods in one: some upstreams take `delete` for DELETE, though the case counts (RFC 9110 section 9.1). */
function checkMethod(method: string): void {
  const known = method.toUpperCase();
  if (known === 'TRACE') throw new MalformedMessage('MethodRefused', 'TRACE is never forwarded.');
  if (FORWARDED.has(known))
    throw new MalformedMessage('MethodRefused', `The method ${method} is not ${known}: write it in upper case.`);
}

function checkHost(host: string | undefined, minorVersion: 0 | 1): string | undefined {
  if (minorVersion === 0 && (host === undefined || host === '')) return undefined;
  if (host === undefined) throw malformed('There is no Host field.');
  if (!consistsOf(host, AUTHORITY)) throw malformed('Host is not the name or address of one host.');
  return host;
}

/** The four forms of RFC 9112 section 3.2, each with the methods that have it. */
function checkTarget(method: string, target: string): void {
  if (method === 'CONNECT') {
    if (!consistsOf(target, AUTHORITY)) throw malformed('The target of CONNECT is not host and port.');
    return;
  }
  if (target.charCodeAt(0) === 0x2f) return;
  if (target === '*') {
    if (method !== 'OPTIONS') throw malformed('The target "*" is for OPTIONS only.');
    return;
  }
  const schemeEnd = target.indexOf('://');
  if (schemeEnd === -1 || !isAlphabetic(target, schemeEnd)) throw malformed('The target is neither a path nor a URI.');
  let end = schemeEnd + 3;
  while (end < target.length && target.charCodeAt(end) !== 0x2f && target.charCodeAt(end) !== 0x3f) end++;
  if (!consistsOf(target.substring(schemeEnd + 3, end), AUTHORITY)) {
    throw malformed('The authority of the target is not the name or address of one host.');
  }
}

function isAlphabetic(text: string, end: number): boolean {
  for (let at = 0; at < end; at++) {
    const lower = text.charCodeAt(at) | 0x20;
    if (lower < 0x61 || lower > 0x7a) return false;
  }
  return end > 0;
}

function requestLineFault(octet: number | undefined): Error {
  if (octet === LF || octet === CR)
    return malformed('The request line is not method, target and version, ended by CRLF.');
  if (octet === SP) return malformed('The request line has more than the two spaces that part it.');
  return octet !== undefined && octet > SP && octet < 0x7f
    ? malformed('The request line holds a character that does not belong there.')
    : lineFault(octet);
}
