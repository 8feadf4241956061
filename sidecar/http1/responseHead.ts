import { ConnectionFields } from './connectionFields.ts';
import { lineFault, readFieldLines } from './fieldLines.ts';
import { malformed } from './malformed.ts';
import { BODY_UNTIL_CLOSE, type Framing, NO_BODY, type ResponseHead } from './message.ts';
import { CR, LF, SP, VALUE } from './octets.ts';

const FIELDS_LIMIT = 256;
const VERSION_1 = 'HTTP/1.';
const DAY_SECONDS = 86_400;

/**
 * Reads the head of the answer to a `requestMethod` request (RFC 9112), as strictly as a request's.
 *
 * Everything comes from `bytes` as they are now: what was masked in them is masked in the result.
 * @throws MalformedMessage
 */
export function parseResponseHead(bytes: Buffer, headEnd: number, requestMethod: string): ResponseHead {
  const text = bytes.toString('latin1', 0, headEnd);
  const minor = text.charCodeAt(7);
  if (!text.startsWith(VERSION_1) || (minor !== 0x30 && minor !== 0x31) || text.charCodeAt(8) !== SP) {
    throw malformed('The answer does not begin with HTTP/1.1 or HTTP/1.0.');
  }
  const minorVersion = minor === 0x31 ? 1 : 0;
  const status = statusOf(text);
  let at = 12;
  // The space before an empty reason phrase is often left out.
  if (bytes[at] === SP) at++;
  else if (bytes[at] !== CR) throw malformed('The status is not three digits.');
  const reasonStart = at;
  while (VALUE[bytes[at]!] === 1) at++;
  if (bytes[at] !== CR || bytes[at + 1] !== LF) throw lineFault(bytes[at]);
  const reason = text.substring(reasonStart, at);

  const fields = readFieldLines(bytes, text, 0, at + 2, headEnd - 2, FIELDS_LIMIT);
  const connection = new ConnectionFields(fields, 'response');
  const stated = connection.framing(minorVersion);
  const tunnel = requestMethod === 'CONNECT' && status >= 200 && status < 300;
  const describes = requestMethod === 'HEAD' || status === 304;
  const bare = status < 200 || status === 204 || tunnel;
  const framing = bare || describes ? NO_BODY : (stated ?? BODY_UNTIL_CLOSE);
  if (describes && !bare && stated?.kind === 'length') fields.add('Content-Length', String(stated.bytes));
  return {
    status,
    reason,
    minorVersion,
    fields,
    framing,
    keepAlive:
      framing.kind !== 'close' &&
      // A body where none may be: whoever sends one may think that it is still to come.
      !(bare && hasBody(stated)) &&
      !connection.closes &&
      (minorVersion === 1 || connection.keeps),
    keepAliveSeconds: connection.keepAlive === undefined ? undefined : timeoutOf(connection.keepAlive),
    upgrade: connection.upgrade,
  };
}

function hasBody(framing: Framing | undefined): boolean {
  return framing !== undefined && (framing.kind === 'chunked' || framing.bytes > 0);
}

function statusOf(text: string): number {
  let status = 0;
  for (let at = 9; at < 12; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (!(digit >= 0 && digit <= 9)) throw malformed('The status is not three digits.');
    status = status * 10 + digit;
  }
  if (status < 100) throw malformed('The status is below 100.');
  return status;
}

/** `timeout=5, max=100` → 5; undefined if it does not say, or says nonsense. */
function timeoutOf(keepAlive: string): number | undefined {
  for (const parameter of keepAlive.split(',')) {
    const [name, value] = parameter.split('=', 2);
    if (name!.trim().toLowerCase() !== 'timeout' || value === undefined) continue;
    const digits = value.trim();
    const seconds = Number(digits);
    return digits !== '' && Number.isInteger(seconds) && seconds >= 0 ? Math.min(seconds, DAY_SECONDS) : undefined;
  }
  return undefined;
}
