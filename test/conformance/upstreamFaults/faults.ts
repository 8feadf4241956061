import { gzipSync } from 'node:zlib';
import { createTestCa } from '../../../sidecar/upstream/testkit.ts';
import type { Script } from './faultyUpstream.ts';

const HOUR_MS = 3_600_000;
/** The host that every one of these upstreams answers for. */
export const FAULTY = 'faulty.localhost';
export const faultyCa = createTestCa('CA of the faulty');
const issue = (changes: Parameters<typeof faultyCa.issue>[0] = {}) => {
  const { cert, key } = faultyCa.issue({ dnsNames: [FAULTY], ...changes });
  return { cert, key };
};
export const good = issue();

export interface Fault extends Script {
  readonly fault: string;
  /** What the agent gets: `<status> <refusal code>`, or whether the answer that it got is `whole` or `truncated`. */
  readonly sees: string;
  /** Its request, other than a GET. */
  readonly request?: 'POST' | 'unfinished POST' | 'HTTP/1.0' | 'expecting POST';
  /** How many requests are answered well before it, on the same agent's behalf. */
  readonly after?: number;
  /** Connections that the upstream sees in all, where that tells something. */
  readonly connections?: number;
  /** Whether no byte of a request may have reached it. */
  readonly untouched?: true;
  /** A host that is not the faulty one. */
  readonly host?: string;
}

/** Echoes the material, so that whatever slips through is seen to. */
const echo = (request: string) => /\r\n(authorization: [^\r]*)/i.exec(request)?.[1] ?? 'X-None: 1';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello';
const fields = (count: number) => Array.from({ length: count }, (_, i) => `X-${i}: v\r\n`).join('');
const says =
  (make: (request: string) => string | Buffer): Script['answer'] =>
  (wire, request) =>
    wire.send(make(request));

/** An answer of 100 bytes, or chunks, or until the end, of which some came. */
const begun = (framing: string, body = 'some of it') => `HTTP/1.1 200 OK\r\n${framing}\r\n${body}`;
const LENGTH = 'Content-Length: 100\r\n';
const CHUNKED = 'Transfer-Encoding: chunked\r\n';
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
const coded = gzipSync('x'.repeat(5_000));

const connecting: Fault[] = [
  { fault: 'refuses connections', host: 'closed.localhost:1', sees: '502 UpstreamUnreachable', untouched: true },
  { fault: 'has no address in DNS', host: 'nowhere.test', sees: '502 UpstreamUnresolved', untouched: true },
  { fault: 'accepts and says nothing', tls: 'none', sees: '504 UpstreamTimeout', untouched: true },
  {
    fault: 'stops in the middle of its TLS handshake',
    tls: 'none',
    // A record of 100 bytes of a ServerHello, of which four come.
    accept: (wire) => wire.send(Buffer.from('160303006402000060', 'hex')),
    sees: '504 UpstreamTimeout',
    untouched: true,
  },
  {
    fault: 'closes at once',
    tls: 'none',
    accept: (wire) => wire.end(),
    sees: '502 UpstreamUnreachable',
    untouched: true,
  },
  {
    fault: 'resets at once',
    tls: 'none',
    accept: (wire) => wire.reset(),
    sees: '502 UpstreamUnreachable',
    untouched: true,
  },
  {
    fault: 'speaks plain HTTP where TLS is due',
    tls: 'none',
    accept: (wire) => wire.send(OK),
    sees: '502 UpstreamUnreachable',
    untouched: true,
  },
];

const ofTls = (fault: string, tls: Script['tls'], sees: string): Fault => ({
  fault,
  tls: tls as NonNullable<typeof tls>,
  answer: says(() => OK),
  sees,
  untouched: true,
});
const self = faultyCa.issue();
const selfIssuer = { commonName: 'upstream', privateKey: self.keys.privateKey };
const selfSigned = issue({ publicKey: self.keys.publicKey, issuer: selfIssuer });
const CERTIFICATE = '502 UpstreamCertificateInvalid';
const tls: Fault[] = [
  ofTls('has an expired certificate', issue({ notAfter: new Date(Date.now() - HOUR_MS) }), CERTIFICATE),
  ofTls('has a certificate of the future', issue({ notBefore: new Date(Date.now() + HOUR_MS) }), CERTIFICATE),
  ofTls('has a self-signed certificate', { cert: selfSigned.cert, key: self.key }, CERTIFICATE),
  ofTls('has the certificate of another name', issue({ dnsNames: ['other.localhost'] }), CERTIFICATE),
  ofTls('has a certificate for clients only', issue({ usages: ['clientAuth'] }), CERTIFICATE),
  ofTls('has a certificate of an unknown CA', createTestCa('Unknown').issue({ dnsNames: [FAULTY] }), CERTIFICATE),
  ofTls(
    'has TLS 1.0 and 1.1 only',
    { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
    '502 UpstreamUnreachable',
  ),
  ofTls(
    'has CBC suites only',
    { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' },
    '502 UpstreamUnreachable',
  ),
  ofTls('takes h2 only, by ALPN', { ALPNProtocols: ['h2'] }, '502 UpstreamUnreachable'),
];

const heads: Fault[] = [
  { fault: 'resets before its head', answer: (wire) => wire.reset(), sees: '502 UpstreamReset' },
  { fault: 'closes before its head', answer: (wire) => wire.end(), sees: '502 UpstreamReset' },
  {
    fault: 'resets in the middle of its head',
    answer: (wire, request) => wire.send(`HTTP/1.1 200 OK\r\n${echo(request)}`).reset(),
    sees: '502 UpstreamReset',
  },
  {
    fault: 'closes in the middle of its head',
    answer: (wire, request) => wire.send(`HTTP/1.1 200 OK\r\n${echo(request)}`).end(),
    sees: '502 UpstreamReset',
  },
  { fault: 'says what is no HTTP', answer: says((q) => `${echo(q)}\0\x01\r\n\r\n`), sees: '502 UpstreamMalformed' },
  {
    fault: 'speaks HTTP/2 whatever was agreed on',
    answer: says(() => Buffer.from('000000040000000000', 'hex')),
    sees: '502 UpstreamMalformed',
  },
  {
    fault: 'ends lines with LF',
    answer: says((q) => `HTTP/1.1 200 OK\n${echo(q)}\nContent-Length: 0\n\n`),
    sees: '502 UpstreamMalformed',
  },
  {
    fault: 'has a head of 70 kB',
    answer: says((q) => `HTTP/1.1 200 OK\r\n${echo(q)}\r\nX: ${'x'.repeat(70_000)}\r\n\r\n`),
    sees: '502 UpstreamMalformed',
  },
  {
    fault: 'has 200 fields in its head',
    answer: says((q) => `HTTP/1.1 200 OK\r\n${echo(q)}\r\n${fields(197)}Content-Length: 0\r\n\r\n`),
    sees: '200 whole',
  },
  {
    fault: 'has 300 fields in its head',
    answer: says((q) => `HTTP/1.1 200 OK\r\n${echo(q)}\r\n${fields(300)}Content-Length: 0\r\n\r\n`),
    sees: '502 UpstreamMalformed',
  },
  {
    fault: 'has interim answers without an end',
    answer: says((q) => `HTTP/1.1 103 Early Hints\r\n${echo(q)}\r\n\r\n`.repeat(100)),
    sees: '502 UpstreamMalformed',
  },
  {
    fault: 'says 100 Continue, then closes',
    request: 'expecting POST',
    answer: (wire) => wire.send('HTTP/1.1 100 Continue\r\n\r\n').end(),
    sees: '502 UpstreamReset',
  },
  {
    fault: 'has both Content-Length and Transfer-Encoding',
    answer: says((q) => `HTTP/1.1 200 OK\r\n${echo(q)}\r\n${LENGTH}${CHUNKED}\r\n${chunk('hello')}0\r\n\r\n`),
    sees: '502 UpstreamMalformed',
  },
  {
    fault: 'has two lengths that differ',
    answer: says((q) => `HTTP/1.1 200 OK\r\n${echo(q)}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`),
    sees: '502 UpstreamMalformed',
  },
  {
    fault: 'has a length that is no number',
    answer: says((q) => `HTTP/1.1 200 OK\r\n${echo(q)}\r\nContent-Length: -5\r\n\r\nhello`),
    sees: '502 UpstreamMalformed',
  },
  {
    fault: 'switches to a protocol that nobody asked for',
    answer: says((q) => `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n${echo(q)}`),
    sees: '502 UpstreamMalformed',
  },
  {
    fault: 'has a content coding that nobody knows',
    answer: says((q) => `HTTP/1.1 200 OK\r\nContent-Encoding: rot13\r\n${LENGTH}\r\n${echo(q)}`),
    sees: '502 UpstreamMalformed',
  },
];

const bodies: Fault[] = [
  {
    fault: 'resets in the middle of a body with a length',
    answer: (wire) => wire.send(begun(LENGTH)).reset(),
    sees: '200 truncated',
  },
  {
    fault: 'closes before the length it has told',
    answer: (wire) => wire.send(begun(LENGTH)).end(),
    sees: '200 truncated',
  },
  {
    fault: 'resets between chunks',
    answer: (wire) => wire.send(begun(CHUNKED, chunk('hello'))).reset(),
    sees: '200 truncated',
  },
  {
    fault: 'leaves the last chunk out',
    answer: (wire) => wire.send(begun(CHUNKED, chunk('hello'))).end(),
    sees: '200 truncated',
  },
  {
    fault: 'resets a body that goes on until the end',
    answer: (wire) => wire.send(begun('')).reset(),
    sees: '200 truncated',
  },
  {
    fault: 'resets a body that goes on until the end, for an agent of HTTP/1.0',
    request: 'HTTP/1.0',
    answer: (wire) => wire.send(begun('')).reset(),
    sees: '200 truncated',
  },
  {
    fault: 'breaks its chunks, for an agent of HTTP/1.0',
    request: 'HTTP/1.0',
    answer: (wire) => wire.send(begun(CHUNKED, chunk('hello'))).later('zz\r\n'),
    sees: '200 truncated',
  },
  {
    fault: 'sends more than the length it has told',
    answer: says((q) => `${OK}${echo(q)}`),
    sees: '200 whole',
  },
  {
    fault: 'has a chunk size that is none',
    answer: (wire) => wire.send(begun(CHUNKED, chunk('hello'))).later('0x5\r\nhello\r\n0\r\n\r\n'),
    sees: '200 truncated',
  },
  {
    fault: 'has a chunk size that is none, in the piece that its head comes in',
    answer: (wire) => wire.send(begun(CHUNKED, `${chunk('hello')}0x5\r\nhello\r\n0\r\n\r\n`)),
    sees: '502 UpstreamMalformed',
  },
  {
    fault: 'has a chunk size past all bounds',
    answer: (wire) => wire.send(begun(CHUNKED, chunk('hello'))).later(`${'f'.repeat(17)}\r\nhello`),
    sees: '200 truncated',
  },
  {
    fault: 'has a chunk that is longer than its size',
    answer: (wire) => wire.send(begun(CHUNKED, chunk('hello'))).later('5\r\nhello!\r\n0\r\n\r\n'),
    sees: '200 truncated',
  },
  {
    fault: 'has trailers without an end',
    answer: (wire, q) => wire.send(begun(CHUNKED, `${chunk('hello')}0\r\n${`${echo(q)}\r\n`.repeat(1_000)}`)),
    sees: '200 truncated',
  },
  {
    fault: 'calls gzip what is none',
    answer: says(
      (q) => `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${echo(q).length}\r\n\r\n${echo(q)}`,
    ),
    sees: '200 truncated',
  },
  {
    fault: 'cuts its gzip short, and says that this is all',
    answer: says(() =>
      Buffer.concat([
        Buffer.from(`HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n`),
        coded.subarray(0, 9),
      ]),
    ),
    sees: '200 truncated',
  },
  {
    fault: 'sends its answer byte by byte',
    answer: async (wire, request) => {
      for (const byte of `HTTP/1.1 200 OK\r\n${echo(request)}\r\n${CHUNKED}\r\n${chunk(echo(request))}0\r\n\r\n`) {
        wire.send(byte);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    },
    sees: '200 whole',
  },
  {
    fault: 'answers an upload early and closes',
    request: 'unfinished POST',
    answer: (wire) =>
      wire.send('HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno').end(),
    sees: '413 whole',
  },
  {
    fault: 'answers an upload early and resets',
    request: 'unfinished POST',
    answer: (wire) =>
      wire.send('HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno').reset(),
    sees: '413 whole',
  },
  {
    fault: 'resets in the middle of an upload',
    request: 'unfinished POST',
    answer: (wire) => wire.reset(),
    sees: '502 UpstreamReset',
  },
];

const pooled: Fault[] = [
  {
    fault: 'closes a kept connection as the next request comes',
    after: 1,
    answer: (wire, _, nth) => (nth === 2 ? wire.end() : wire.send(OK)),
    sees: '200 whole',
    connections: 2,
  },
  {
    fault: 'resets a kept connection as the next request comes',
    after: 1,
    answer: (wire, _, nth) => (nth === 2 ? wire.reset() : wire.send(OK)),
    sees: '200 whole',
    connections: 2,
  },
  {
    fault: 'closes a kept connection as a request comes that must not be repeated',
    after: 1,
    request: 'POST',
    answer: (wire, _, nth) => (nth === 2 ? wire.end() : wire.send(OK)),
    sees: '502 UpstreamReset',
    connections: 1,
  },
  {
    fault: 'closes each connection as a request comes on it, kept or new',
    after: 1,
    answer: (wire, _, nth) => (nth >= 2 ? wire.end() : wire.send(OK)),
    sees: '502 UpstreamReset',
    connections: 2,
  },
  {
    fault: 'answers a request that nobody has sent, together with another answer',
    after: 1,
    answer: (wire, q, nth) =>
      wire.send(nth === 1 ? `${OK}HTTP/1.1 200 OK\r\nContent-Length: ${echo(q).length}\r\n\r\n${echo(q)}` : OK),
    sees: '200 whole',
    connections: 2,
  },
  {
    fault: 'answers a request that nobody has sent, on a connection that is kept',
    after: 1,
    answer: (wire, q, nth) => {
      wire.send(OK);
      return nth === 1 ? wire.later(`HTTP/1.1 200 OK\r\nContent-Length: ${echo(q).length}\r\n\r\n${echo(q)}`) : wire;
    },
    sees: '200 whole',
    connections: 2,
  },
];

/** What an upstream may do wrong, from the connection to the last byte. */
export const FAULTS: readonly Fault[] = [...connecting, ...tls, ...heads, ...bodies, ...pooled];
