import type { MalformedCode } from '../../../sidecar/http1/malformed.ts';

/** A message that must be refused. `message`: one character per byte (latin1). */
export interface Refused {
  readonly name: string;
  readonly message: string;
  /** MalformedRequest if it does not say. */
  readonly code?: MalformedCode;
}

/** A message that must be taken, and what is sent in its stead. One character per byte (latin1). */
export interface Taken {
  readonly name: string;
  readonly message: string;
  /** The same as the message if it does not say. */
  readonly rebuilt?: string;
  /** Readers that refuse what we send, which is safe, though others take it. */
  readonly refusedBy?: readonly string[];
}

/** The limit on heads that the corpus is made for. */
export const HEAD_LIMIT_BYTES = 16 * 1024;

const HOST = 'Host: a.example\r\n';
const POST = `POST /p HTTP/1.1\r\n${HOST}`;
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`;
const NEXT = `GET /smuggled HTTP/1.1\r\n${HOST}\r\n`;

const get = (fields: string): string => `GET / HTTP/1.1\r\n${HOST}${fields}\r\n`;
const line = (requestLine: string): string => `${requestLine}\r\n${HOST}\r\n`;
const host = (fields: string): string => `GET / HTTP/1.1\r\n${fields}\r\n`;
const target = (text: string, method = 'GET'): string => line(`${method} ${text} HTTP/1.1`);
const numbered = (count: number): string => Array.from({ length: count }, (_, n) => `X-${n}: v\r\n`).join('');

const REFUSED_LINES: readonly Refused[] = [
  { name: 'request line ended by LF', message: `GET / HTTP/1.1\n${HOST}\r\n` },
  { name: 'field ended by LF', message: 'GET / HTTP/1.1\r\nHost: a.example\nX: 1\r\n\r\n' },
  { name: 'LF everywhere', message: 'GET / HTTP/1.1\nHost: a.example\n\n' },
  { name: 'empty line ended by LF', message: `GET / HTTP/1.1\r\n${HOST}\n${NEXT}` },
  { name: 'LF alone before the request line', message: `\nGET / HTTP/1.1\r\n${HOST}\r\n` },
  { name: 'CR in a value', message: get('X: a\rb\r\n') },
  { name: 'CR that hides a field', message: get('X: a\rContent-Length: 5\r\n') },
  { name: 'CR as the end of a line', message: `GET / HTTP/1.1\r${HOST}\r\n` },
  { name: 'CR CR LF', message: get('X: a\r\r\n') },
  { name: 'CR alone before the request line', message: `\rGET / HTTP/1.1\r\n${HOST}\r\n` },
  { name: 'NUL in a value', message: get('X: a\0b\r\n') },
  { name: 'NUL in a name', message: get('X\0Y: a\r\n') },
  { name: 'NUL in the target', message: target('/a\0b') },
  { name: 'NUL in the method', message: target('/', 'G\0ET') },
  { name: 'DEL in a value', message: get('X: a\x7fb\r\n') },
  { name: 'ESC in a value', message: get('X: \x1b[31m\r\n') },
  { name: 'vertical tab before a value', message: get('Transfer-Encoding:\x0bchunked\r\n') },
  { name: 'form feed after a value', message: get('Content-Length: 5\x0c\r\n') },
  { name: 'two empty lines before the request line', message: `\r\n\r\nGET / HTTP/1.1\r\n${HOST}\r\n` },
  { name: 'space before the request line', message: ` GET / HTTP/1.1\r\n${HOST}\r\n` },
  { name: 'a TLS handshake', message: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03' },
  { name: 'HTTP/0.9', message: 'GET /\r\n\r\n' },
  { name: 'HTTP/0.9 with fields', message: line('GET /') },
  { name: 'no target', message: line('GET HTTP/1.1') },
  { name: 'an empty target', message: line('GET  HTTP/1.1') },
  { name: 'two spaces before the version', message: line('GET /  HTTP/1.1') },
  { name: 'two spaces before the target', message: line('GET  / HTTP/1.1') },
  { name: 'space after the version', message: line('GET / HTTP/1.1 ') },
  { name: 'tab in the request line', message: line('GET\t/ HTTP/1.1') },
  { name: 'a space in the target', message: line('GET /a b HTTP/1.1') },
  { name: 'a second version', message: line('GET /a HTTP/1.1 HTTP/1.1') },
  { name: 'HTTP/2.0 in a request line', message: line('GET / HTTP/2.0') },
  { name: 'HTTP/1.2', message: line('GET / HTTP/1.2') },
  { name: 'HTTP/0.9 as a version', message: line('GET / HTTP/0.9') },
  { name: 'HTTP/1.10', message: line('GET / HTTP/1.10') },
  { name: 'HTTP/1.', message: line('GET / HTTP/1.') },
  { name: 'HTTP/1', message: line('GET / HTTP/1') },
  { name: 'HTTP/01.1', message: line('GET / HTTP/01.1') },
  { name: 'http/1.1', message: line('GET / http/1.1') },
  { name: 'another protocol', message: line('GET / ICE/1.0') },
  { name: 'the preface of HTTP/2', message: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', code: 'Http2NotSupported' },
  { name: 'a method that is no token', message: target('/', 'GE(T') },
  { name: 'no method', message: ` / HTTP/1.1\r\n${HOST}\r\n` },
  { name: 'a method of 33 bytes', message: target('/', 'A'.repeat(33)) },
  { name: 'TRACE', message: target('/', 'TRACE'), code: 'MethodRefused' },
  { name: 'trace', message: target('/', 'trace'), code: 'MethodRefused' },
];

const REFUSED_TARGETS: readonly Refused[] = [
  { name: 'a fragment', message: target('/a#b') },
  { name: 'a byte above ASCII in the target', message: target('/caf\xe9') },
  { name: 'UTF-8 in the target', message: target('/caf\xc3\xa9') },
  { name: '* for GET', message: target('*') },
  { name: 'a target without a scheme', message: target('a.example/') },
  { name: 'an authority as the target of GET', message: target('a.example:443') },
  { name: 'a scheme without an authority', message: target('http:///a') },
  { name: 'a scheme with one slash', message: target('http:/a') },
  { name: 'another kind of URI', message: target('urn:a') },
  { name: 'userinfo in the target', message: target('http://user:pass@a.example/') },
  { name: 'an empty userinfo in the target', message: target('http://@a.example/') },
  { name: 'a host behind a userinfo that looks like one', message: target('http://a.example:80@b.example/') },
  { name: 'a backslash in the authority', message: target('http://a.example\\@b.example/') },
  { name: 'a percent-encoded authority', message: target('http://a%2eexample/') },
  { name: 'a list as the authority', message: target('http://a.example,b.example/') },
  { name: 'a zone in the authority', message: target('http://[fe80::1%25eth0]/') },
  { name: 'no Host', message: host('') },
  { name: 'no Host beside an absolute target', message: 'GET http://a.example/ HTTP/1.1\r\n\r\n' },
  { name: 'no Host for CONNECT', message: 'CONNECT a.example:443 HTTP/1.1\r\n\r\n' },
  { name: 'Host twice', message: host('Host: a.example\r\nHost: b.example\r\n') },
  { name: 'Host twice, the same', message: host('Host: a.example\r\nHost: a.example\r\n') },
  { name: 'Host twice in other spelling', message: host('Host: a.example\r\nX: 1\r\nhOST: b.example\r\n') },
  { name: 'Host twice in HTTP/1.0', message: 'GET / HTTP/1.0\r\nHost: a.example\r\nHost: a.example\r\n\r\n' },
  { name: 'an empty Host', message: host('Host: \r\n') },
  { name: 'Host with a list', message: host('Host: a.example, b.example\r\n') },
  { name: 'Host with a userinfo', message: host('Host: user@a.example\r\n') },
  { name: 'Host with a path', message: host('Host: a.example/b\r\n') },
  { name: 'Host with a query', message: host('Host: a.example?b\r\n') },
  { name: 'Host with a space', message: host('Host: a.example b.example\r\n') },
  { name: 'Host that is percent-encoded', message: host('Host: a%2Eexample\r\n') },
  { name: 'Host with a byte above ASCII', message: host('Host: \xe0.example\r\n') },
  { name: 'Host with a scheme', message: host('Host: http://a.example\r\n') },
  { name: 'Host folded', message: host('Host:\r\n a.example\r\n') },
  { name: 'Host behind white space', message: host('Host : a.example\r\n') },
  { name: 'CONNECT with a path', message: target('/', 'CONNECT') },
  { name: 'CONNECT with a URI', message: target('https://a.example:443', 'CONNECT') },
  { name: 'CONNECT with a userinfo', message: target('user@a.example:443', 'CONNECT') },
  { name: 'CONNECT with a length', message: `CONNECT a.example:443 HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nabcde` },
  {
    name: 'CONNECT with chunks',
    message: `CONNECT a.example:443 HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  { name: 'connect', message: target('a.example:443', 'connect') },
];

const CL_TE = 'Content-Length: 6\r\nTransfer-Encoding: chunked\r\n';
const TE_CL = 'Transfer-Encoding: chunked\r\nContent-Length: 6\r\n';
const te = (lines: string): string => `${POST}${lines}\r\n0\r\n\r\n`;
const cl = (lines: string): string => `${POST}${lines}\r\nabcde`;

const REFUSED_FRAMING: readonly Refused[] = [
  { name: 'CL then TE', message: `${POST}${CL_TE}\r\n0\r\n\r\n${NEXT}` },
  { name: 'TE then CL', message: `${POST}${TE_CL}\r\n0\r\n\r\n${NEXT}` },
  { name: 'CL then TE in HTTP/1.0', message: `POST /p HTTP/1.0\r\n${HOST}${CL_TE}\r\n0\r\n\r\n` },
  { name: 'CL that differ', message: cl('Content-Length: 5\r\nContent-Length: 0\r\n') },
  { name: 'CL that are equal', message: cl('Content-Length: 5\r\nContent-Length: 5\r\n') },
  { name: 'CL as a list', message: cl('Content-Length: 5, 5\r\n') },
  { name: 'CL of two numbers', message: cl('Content-Length: 5 5\r\n') },
  { name: 'CL with a plus', message: cl('Content-Length: +5\r\n') },
  { name: 'CL below zero', message: cl('Content-Length: -5\r\n') },
  { name: 'CL in hexadecimal', message: cl('Content-Length: 0x5\r\n') },
  { name: 'CL with an exponent', message: cl('Content-Length: 5e0\r\n') },
  { name: 'CL with a point', message: cl('Content-Length: 5.0\r\n') },
  { name: 'CL with a separator', message: cl('Content-Length: 1_0\r\n') },
  { name: 'an empty CL', message: cl('Content-Length:\r\n') },
  { name: 'CL of 2^53', message: cl('Content-Length: 9007199254740992\r\n') },
  { name: 'CL that wraps at 64 bits', message: cl('Content-Length: 18446744073709551621\r\n') },
  { name: 'CL behind a space', message: cl('Content-Length : 5\r\n') },
  { name: 'TE behind a space', message: te('Transfer-Encoding : chunked\r\n') },
  { name: 'TE behind a tab', message: te('Transfer-Encoding\t: chunked\r\n') },
  { name: 'TE in HTTP/1.0', message: `POST /p HTTP/1.0\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n` },
  { name: 'TE: gzip, chunked', message: te('Transfer-Encoding: gzip, chunked\r\n') },
  { name: 'TE: chunked, gzip', message: te('Transfer-Encoding: chunked, gzip\r\n') },
  { name: 'TE: chunked, chunked', message: te('Transfer-Encoding: chunked, chunked\r\n') },
  { name: 'TE twice', message: te('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n') },
  { name: 'TE twice, one unknown', message: te('Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n') },
  { name: 'TE: identity', message: te('Transfer-Encoding: identity\r\n') },
  { name: 'TE: identity beside CL', message: cl('Transfer-Encoding: identity\r\nContent-Length: 5\r\n') },
  { name: 'TE: xchunked', message: te('Transfer-Encoding: xchunked\r\n') },
  { name: 'TE in quotes', message: te('Transfer-Encoding: "chunked"\r\n') },
  { name: 'TE with a parameter', message: te('Transfer-Encoding: chunked;q=1\r\n') },
  { name: 'TE with an empty element', message: te('Transfer-Encoding: chunked,\r\n') },
  { name: 'an empty TE', message: te('Transfer-Encoding:\r\n') },
  { name: 'TE folded', message: te('Transfer-Encoding:\r\n chunked\r\n') },
  { name: 'TE with a byte that looks like a k', message: te('Transfer-Encoding: chun\xe2\x84\xaaed\r\n') },
];

const REFUSED_FIELDS: readonly Refused[] = [
  { name: 'a folded value', message: get('X: a\r\n b\r\n') },
  { name: 'a value folded with a tab', message: get('X: a\r\n\tContent-Length: 5\r\n') },
  { name: 'a first line that is folded', message: host(` X: 1\r\n${HOST}`) },
  { name: 'a line of white space', message: get('X: a\r\n \r\n') },
  { name: 'space before the colon', message: get('X : a\r\n') },
  { name: 'no name', message: get(': a\r\n') },
  { name: 'no colon', message: get('X\r\n') },
  { name: 'a name with a parenthesis', message: get('X(Y): a\r\n') },
  { name: 'a name with a byte above ASCII', message: get('X\xe9: a\r\n') },
  { name: 'a name with a space', message: get('Content Length: 5\r\n') },
  { name: '101 fields', message: get(numbered(100)) },
  { name: 'Connection names Host', message: get('Connection: close, Host\r\n') },
  {
    name: 'Connection names Content-Length',
    message: `${POST}Content-Length: 5\r\nConnection: content-length\r\n\r\nabcde`,
  },
  {
    name: 'Connection names Transfer-Encoding',
    message: `${POST}Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n\r\n0\r\n\r\n`,
  },
  { name: 'Connection names Authorization', message: get('Authorization: x\r\nConnection: AUTHORIZATION\r\n') },
  { name: 'Connection names Cookie', message: get('Cookie: a=b\r\nConnection: cookie\r\n') },
  { name: 'Connection names X-Forwarded-For', message: get('Connection: x-forwarded-for\r\n') },
  { name: 'a second Connection names Cookie', message: get('Connection: close\r\nConnection: cookie\r\n') },
  { name: 'Connection is no list of tokens', message: get('Connection: "close"\r\n') },
  { name: 'Expect for something else', message: get('Expect: 200-maybe\r\n') },
  { name: 'Expect for two things', message: get('Expect: 100-continue, x\r\n') },
  { name: 'Expect twice', message: get('Expect: 100-continue\r\nExpect: 100-continue\r\n') },
  { name: 'an empty Expect', message: get('Expect:\r\n') },
  { name: 'a head past the limit', message: get(`X: ${'x'.repeat(HEAD_LIMIT_BYTES)}\r\n`), code: 'HeadTooLarge' },
  { name: 'a target past the limit', message: target(`/${'a'.repeat(HEAD_LIMIT_BYTES)}`), code: 'HeadTooLarge' },
];

const chunks = (body: string): string => `${CHUNKED}${body}`;
const trailer = (lines: string): string => `${CHUNKED}3\r\nabc\r\n0\r\n${lines}\r\n`;

const REFUSED_CHUNKS: readonly Refused[] = [
  { name: 'chunk size ended by LF', message: chunks('3\nabc\r\n0\r\n\r\n') },
  { name: 'chunk ended by LF', message: chunks('3\r\nabc\n0\r\n\r\n') },
  { name: 'chunk ended by CR', message: chunks('3\r\nabc\r0\r\n\r\n') },
  { name: 'last chunk ended by LF', message: chunks('3\r\nabc\r\n0\n\r\n') },
  { name: 'body ended by LF', message: chunks('3\r\nabc\r\n0\r\n\n') },
  { name: 'CR in the line of a chunk size', message: chunks('3\rabc\r\n0\r\n\r\n') },
  { name: 'a chunk without a size', message: chunks('\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size with 0x', message: chunks('0x3\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size below zero', message: chunks('-3\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size with a plus', message: chunks('+3\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size that is no number', message: chunks('g\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size behind a space', message: chunks(' 3\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size before a space', message: chunks('3 \r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size before a space and an extension', message: chunks('3 ;a=b\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size with a separator', message: chunks('0_3\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size past 2^53', message: chunks('20000000000000\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size that wraps at 64 bits', message: chunks('10000000000000003\r\nabc\r\n0\r\n\r\n') },
  { name: 'a chunk size of 33 digits', message: chunks(`${'0'.repeat(32)}3\r\nabc\r\n0\r\n\r\n`) },
  { name: 'a chunk that is longer than its size', message: chunks('3\r\nabcd\r\n0\r\n\r\n') },
  { name: 'a chunk that is shorter than its size', message: chunks('4\r\nabc\r\n0\r\n\r\n') },
  { name: 'an extension with LF', message: chunks('3;a\nb\r\nabc\r\n0\r\n\r\n') },
  { name: 'an extension with CR', message: chunks('3;a\rb\r\nabc\r\n0\r\n\r\n') },
  { name: 'an extension with NUL', message: chunks('3;a\0\r\nabc\r\n0\r\n\r\n') },
  { name: 'an extension past the limit', message: chunks(`3;${'a'.repeat(17_000)}\r\nabc\r\n0\r\n\r\n`) },
  { name: 'Content-Length as a trailer', message: trailer('Content-Length: 3\r\n') },
  { name: 'Transfer-Encoding as a trailer', message: trailer('Transfer-Encoding: chunked\r\n') },
  { name: 'Host as a trailer', message: trailer('Host: b.example\r\n') },
  { name: 'Authorization as a trailer', message: trailer('X: 1\r\nAUTHORIZATION: Bearer x\r\n') },
  { name: 'Cookie as a trailer', message: trailer('Cookie: a=b\r\n') },
  { name: 'X-Api-Key as a trailer', message: trailer('X-Api-Key: x\r\n') },
  { name: 'Connection as a trailer', message: trailer('Connection: close\r\n') },
  { name: 'a trailer that is folded', message: trailer('X: a\r\n b\r\n') },
  { name: 'a trailer ended by LF', message: trailer('X: a\nY: b\r\n') },
  { name: 'a trailer with CR', message: trailer('X: a\rb\r\n') },
  { name: 'a trailer with NUL', message: trailer('X: a\0\r\n') },
  { name: 'a trailer with a space before the colon', message: trailer('X : a\r\n') },
  { name: 'a trailer without a colon', message: trailer('X\r\n') },
  { name: 'a trailer without a name', message: trailer(': a\r\n') },
  { name: '101 trailers', message: trailer(numbered(101)) },
  { name: 'trailers past the limit', message: trailer(`X: ${'x'.repeat(17_000)}\r\n`) },
];

export const REFUSED: readonly Refused[] = [
  ...REFUSED_LINES,
  ...REFUSED_TARGETS,
  ...REFUSED_FRAMING,
  ...REFUSED_FIELDS,
  ...REFUSED_CHUNKS,
];

const PLAIN = get('');
const WITH_LENGTH = `${POST}Content-Length: 5\r\n\r\nabcde`;
const ONE_CHUNK = chunks('5\r\nabcde\r\n0\r\n\r\n');

export const TAKEN: readonly Taken[] = [
  { name: 'a plain request', message: PLAIN },
  { name: 'one empty line before the request line', message: `\r\n${PLAIN}`, rebuilt: PLAIN },
  { name: 'a query', message: target('/a/b?c=d&e=%20f?g/') },
  { name: 'a target with every odd character', message: target('/-._~!$&\'()*+,;=:@%41"<>^`{|}') },
  { name: 'a target of 8 KB', message: target(`/${'a'.repeat(8000)}`) },
  { name: 'an absolute target', message: target('http://a.example/x?y'), rebuilt: target('/x?y') },
  { name: 'an absolute target in capitals', message: target('HTTP://a.example/x'), rebuilt: target('/x') },
  { name: 'an absolute target without a path', message: target('http://a.example'), rebuilt: target('/') },
  { name: 'an absolute target with a query only', message: target('http://a.example?x'), rebuilt: target('/?x') },
  { name: 'OPTIONS *', message: target('*', 'OPTIONS'), refusedBy: ['nginx', 'envoy'] },
  { name: 'HEAD', message: target('/', 'HEAD') },
  { name: 'DELETE', message: target('/', 'DELETE') },
  { name: 'PATCH with a length', message: `PATCH /p HTTP/1.1\r\n${HOST}Content-Length: 2\r\n\r\n{}` },
  { name: 'PROPFIND', message: target('/', 'PROPFIND') },
  { name: 'a method of its own', message: target('/', 'BREW'), refusedBy: ['node', 'envoy'] },
  { name: 'Host with a port', message: host('Host: a.example:8443\r\n') },
  { name: 'Host as an IPv4 address', message: host('Host: 192.0.2.1\r\n') },
  { name: 'Host as an IPv6 address', message: host('Host: [2001:db8::1]:80\r\n') },
  { name: 'Host with an underscore', message: host('Host: a_b.example\r\n') },
  {
    name: 'Host in other spelling, after others',
    message: host('X: 1\r\nhOsT:a.example\r\n'),
    rebuilt: get('X: 1\r\n'),
  },
  {
    name: 'white space around values',
    message: get('X: \t a \t b\t \r\nY:c\r\n'),
    rebuilt: get('X: a \t b\r\nY: c\r\n'),
  },
  { name: 'an empty value', message: get('X:\r\nY: \r\n'), rebuilt: get('X: \r\nY: \r\n') },
  { name: 'bytes above ASCII in a value', message: get('X: caf\xc3\xa9 \xff\r\n') },
  { name: 'every kind of character in a name', message: get("!#$%&'*+-.^_`|~09azAZ: a\r\n") },
  { name: 'a field twice stays twice', message: get('X: 1\r\nY: 2\r\nX: 3\r\n') },
  { name: 'a colon in a value', message: get('X: a:b: c\r\n') },
  { name: '100 fields', message: get(numbered(99)) },
  { name: 'a length', message: WITH_LENGTH },
  { name: 'a length of 0', message: `${POST}Content-Length: 0\r\n\r\n` },
  { name: 'a length with zeros before', message: `${POST}Content-Length: 0005\r\n\r\nabcde`, rebuilt: WITH_LENGTH },
  { name: 'a length with GET', message: `GET / HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nabcde` },
  { name: 'a body with CRLFCRLF in it', message: `${POST}Content-Length: 9\r\n\r\na\r\n\r\nb\n\n\0` },
  { name: 'a body that looks like a request', message: `${POST}Content-Length: ${NEXT.length}\r\n\r\n${NEXT}` },
  { name: 'one chunk', message: ONE_CHUNK },
  { name: 'several chunks', message: chunks('2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n'), rebuilt: ONE_CHUNK },
  { name: 'no chunk but the last', message: chunks('0\r\n\r\n') },
  { name: 'a last chunk of many zeros', message: chunks('5\r\nabcde\r\n000\r\n\r\n'), rebuilt: ONE_CHUNK },
  { name: 'a chunk size with zeros before', message: chunks('005\r\nabcde\r\n0\r\n\r\n'), rebuilt: ONE_CHUNK },
  {
    name: 'chunk sizes in either case',
    message: chunks('A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n'),
    rebuilt: chunks('14\r\n01234567890123456789\r\n0\r\n\r\n'),
  },
  {
    name: 'chunk extensions are dropped',
    message: chunks('5;a;b=c;d="e; f"\r\nabcde\r\n0;g\r\n\r\n'),
    rebuilt: ONE_CHUNK,
  },
  {
    name: 'chunks that hold CRLF',
    message: chunks('a\r\na\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n'),
    rebuilt: chunks('a\r\na\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n'),
  },
  { name: 'trailers', message: chunks('5\r\nabcde\r\n0\r\nX-Sum: 1\r\nX-Sum: 2\r\n\r\n') },
  {
    name: 'trailers that are announced',
    message: `${POST}Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX-Sum:  1 \r\n\r\n`,
    rebuilt: `${POST}Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\nX-Sum: 1\r\n\r\n`,
  },
  { name: 'Trailer without chunks', message: get('Trailer: X-Sum\r\n'), rebuilt: PLAIN },
  {
    name: 'TE in capitals',
    message: te('Transfer-Encoding: CHUNKED\r\n'),
    rebuilt: te('Transfer-Encoding: chunked\r\n'),
  },
  { name: 'two requests in a row', message: WITH_LENGTH + PLAIN },
  { name: 'chunks, then another request', message: ONE_CHUNK + NEXT },
  { name: 'an empty line between two requests', message: `${WITH_LENGTH}\r\n${PLAIN}`, rebuilt: WITH_LENGTH + PLAIN },
  {
    name: 'Connection: close, and what follows is not read',
    message: get('Connection: close\r\n') + NEXT,
    rebuilt: PLAIN,
  },
  {
    name: 'Connection: keep-alive',
    message: get('Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n'),
    rebuilt: PLAIN,
  },
  {
    name: 'Connection drops what it names',
    message: get('X-Hop: 1\r\nY: 2\r\nConnection: x-hop\r\n'),
    rebuilt: get('Y: 2\r\n'),
  },
  { name: 'an empty Connection', message: get('Connection: , ,\r\n'), rebuilt: PLAIN },
  {
    name: 'fields for proxies',
    message: get('Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nProxy-X: 1\r\n'),
    rebuilt: PLAIN,
  },
  { name: 'TE: trailers', message: get('TE: trailers\r\nConnection: TE\r\n'), rebuilt: PLAIN },
  { name: 'Upgrade that Connection does not list', message: get('Upgrade: websocket\r\n'), rebuilt: PLAIN },
  {
    name: 'a WebSocket',
    message: get('Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n'),
    rebuilt: get('Sec-WebSocket-Version: 13\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'),
    refusedBy: ['envoy'],
  },
  {
    name: 'Upgrade in HTTP/1.0',
    message: `GET / HTTP/1.0\r\n${HOST}Connection: upgrade\r\nUpgrade: x\r\n\r\n`,
    rebuilt: PLAIN,
  },
  {
    name: 'Expect: 100-continue',
    message: `${POST}Expect: 100-Continue\r\nContent-Length: 5\r\n\r\nabcde`,
    rebuilt: `${POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde`,
  },
  { name: 'Expect without a body', message: get('Expect: 100-continue\r\n'), rebuilt: PLAIN },
  {
    name: 'Expect in HTTP/1.0',
    message: `POST /p HTTP/1.0\r\n${HOST}Expect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde`,
    rebuilt: WITH_LENGTH,
  },
  { name: 'HTTP/1.0', message: `GET / HTTP/1.0\r\n${HOST}\r\n`, rebuilt: PLAIN },
  {
    name: 'HTTP/1.0 with an absolute target and no Host',
    message: 'GET http://a.example/ HTTP/1.0\r\n\r\n',
    rebuilt: PLAIN,
  },
  {
    name: 'HTTP/1.0 that keeps the connection',
    message: `GET / HTTP/1.0\r\n${HOST}Connection: Keep-Alive\r\n\r\n${NEXT}`,
    rebuilt: PLAIN + NEXT,
  },
  {
    name: 'CONNECT',
    message: `CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n\x16\x03\x01`,
    rebuilt: '',
  },
  {
    name: 'CONNECT with a length of 0',
    message: 'CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\nContent-Length: 0\r\n\r\n',
    rebuilt: '',
  },
];
