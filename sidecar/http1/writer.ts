import type { Fields } from './fields.ts';
import type { Framing } from './message.ts';
import { AUTHORITY, CR, consistsOf, LF, TARGET, TOKEN } from './octets.ts';

export interface RequestHeadParts {
  method: string;
  /** Bytes if it holds material. */
  target: string | Buffer;
  host: string;
  fields: Fields;
  /** Lower-case keys of fields that are dropped. */
  omit?: ReadonlySet<string> | undefined;
  /** Ready field lines, each with its CRLF; may hold material. */
  lines?: Buffer | undefined;
  framing: Framing;
  upgrade?: string | undefined;
  expectContinue?: boolean;
}

export interface ResponseHeadParts {
  status: number;
  reason: string;
  fields: Fields;
  /** Lower-case keys of fields that are dropped. */
  omit?: ReadonlySet<string> | undefined;
  framing: Framing;
  close: boolean;
  upgrade?: string | undefined;
  /** Ready field lines, each with its CRLF. */
  extra?: string | undefined;
}

/**
 * A request's head as bytes of its own, exactly as many as it needs; the caller overwrites them once they are written.
 *
 * The bytes of `target` and `lines` are copied, never decoded.
 * @throws TypeError if method, target or host could not stand in a request line
 */
export function requestHead(parts: RequestHeadParts): Buffer {
  const { method, target, host, lines } = parts;
  if (!consistsOf(method, TOKEN) || !consistsOf(host, AUTHORITY)) throw new TypeError('not a method or host');
  const rest =
    ` HTTP/1.1\r\nHost: ${host}\r\n` +
    fieldLines(parts.fields, parts.omit) +
    framingLine(parts.framing) +
    upgradeLines(parts.upgrade) +
    (parts.expectContinue ? 'Expect: 100-continue\r\n' : '');
  if (parts.framing.kind === 'close') throw new TypeError('a request cannot end with its connection');
  if (typeof target === 'string') {
    if (!consistsOf(target, TARGET)) throw new TypeError('not a request target');
    return assemble(`${method} ${target}${rest}`, undefined, '', lines);
  }
  if (target.length === 0 || !target.every((octet) => TARGET[octet] === 1)) throw new TypeError('not a request target');
  return assemble(`${method} `, target, rest, lines);
}

/** A response's head as bytes. */
export function responseHead(parts: ResponseHeadParts): Buffer {
  return Buffer.from(responseHeadText(parts), 'latin1');
}

/** A response's head in latin1; never says more of the body's length than `framing` and `extra`. */
export function responseHeadText(parts: ResponseHeadParts): string {
  const { framing } = parts;
  return (
    `HTTP/1.1 ${parts.status} ${parts.reason}\r\n${fieldLines(parts.fields, parts.omit)}${parts.extra ?? ''}` +
    framingLine(framing) +
    upgradeLines(parts.upgrade) +
    (parts.close || framing.kind === 'close' ? 'Connection: close\r\n\r\n' : '\r\n')
  );
}

/** The line before a chunk's data (RFC 9112 section 7.1), which is not empty. */
export function chunkHead(bytes: number): Buffer {
  return Buffer.from(`${bytes.toString(16)}\r\n`, 'latin1');
}

/** What ends a chunked body. `omit`: lower-case keys of trailers that are dropped, as from the head. */
export function lastChunk(trailers: Fields | undefined, omit?: ReadonlySet<string>): Buffer {
  return Buffer.from(trailers === undefined ? '0\r\n\r\n' : `0\r\n${fieldLines(trailers, omit)}\r\n`, 'latin1');
}

const INTERIM_REASONS: Readonly<Record<number, string>> = { 100: 'Continue', 102: 'Processing', 103: 'Early Hints' };

/** The head of an answer that another one follows (1xx but 101). */
export function interimHead(status: number, fields: Fields): Buffer {
  return Buffer.from(
    `HTTP/1.1 ${status} ${INTERIM_REASONS[status] ?? ''}\r\n${fieldLines(fields, undefined)}\r\n`,
    'latin1',
  );
}

/** One buffer for all: a head that holds material must leave no copy in memory that others share. */
function assemble(before: string, target: Buffer | undefined, after: string, lines: Buffer | undefined): Buffer {
  if (lines !== undefined && (lines.at(-1) !== LF || lines.at(-2) !== CR)) throw new TypeError('not field lines');
  const length = before.length + (target?.length ?? 0) + after.length + (lines?.length ?? 0) + 2;
  const bytes = Buffer.allocUnsafeSlow(length);
  let at = bytes.write(before, 0, 'latin1');
  if (target !== undefined) at += target.copy(bytes, at);
  if (after !== '') at += bytes.write(after, at, 'latin1');
  if (lines !== undefined) at += lines.copy(bytes, at);
  bytes[at] = CR;
  bytes[at + 1] = LF;
  return bytes;
}

/** Framing is written from what was understood, never from a field. */
function fieldLines(fields: Fields, omit: ReadonlySet<string> | undefined): string {
  const { names, keys, values } = fields;
  // The few strings of a set are compared faster than each key is hashed: no key was looked up before.
  const omitted = omit === undefined || omit.size === 0 ? undefined : [...omit];
  let text = '';
  for (let at = 0; at < keys.length; at++) {
    const key = keys[at]!;
    if (key === 'content-length' || key === 'transfer-encoding' || omitted?.includes(key)) continue;
    text += `${names[at]}: ${values[at]}\r\n`;
  }
  return text;
}

function framingLine(framing: Framing): string {
  if (framing.kind === 'length') return `Content-Length: ${framing.bytes}\r\n`;
  return framing.kind === 'chunked' ? 'Transfer-Encoding: chunked\r\n' : '';
}

function upgradeLines(upgrade: string | undefined): string {
  return upgrade === undefined ? '' : `Connection: Upgrade\r\nUpgrade: ${upgrade}\r\n`;
}
