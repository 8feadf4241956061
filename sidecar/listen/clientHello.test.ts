import { once } from 'node:events';
import { createServer } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { listen } from '../upstream/testkit.ts';
import { ClientHelloReader, type HelloProgress } from './clientHello.ts';

/** What a TLS client of Node begins with. */
async function helloOf(options: ConnectionOptions): Promise<Buffer> {
  const server = createServer();
  const port = await listen(server);
  const client = connect({ ...options, port, host: '127.0.0.1' }).on('error', () => {});
  onTestFinished(() => void client.destroy());
  const [socket] = await once(server, 'connection');
  const [bytes] = await once(socket, 'data');
  return bytes;
}

function read(...chunks: Buffer[]): HelloProgress {
  const reader = new ClientHelloReader();
  let progress: HelloProgress = { kind: 'incomplete' };
  for (const chunk of chunks) {
    if (progress.kind !== 'incomplete') break;
    progress = reader.push(chunk);
  }
  return progress;
}

const uint16 = (value: number) => Buffer.of(value >> 8, value & 0xff);
const vector = (bytes: Buffer) => Buffer.concat([uint16(bytes.length), bytes]);
const extension = (type: number, data: Buffer) => Buffer.concat([uint16(type), vector(data)]);
const serverName = (...names: string[]) =>
  extension(0, vector(Buffer.concat(names.map((name) => Buffer.concat([Buffer.of(0), vector(Buffer.from(name))])))));

function hello(extensions: Buffer | undefined, changes: { version?: Buffer; suites?: Buffer; session?: Buffer } = {}) {
  const { version = Buffer.of(3, 3), suites = Buffer.of(0x13, 1), session = Buffer.alloc(0) } = changes;
  const body = [version, Buffer.alloc(32, 7), Buffer.of(session.length), session, vector(suites), Buffer.of(1, 0)];
  if (extensions !== undefined) body.push(vector(extensions));
  return Buffer.concat(body);
}

function handshake(body: Buffer, type = 1): Buffer {
  return Buffer.concat([Buffer.of(type, body.length >> 16), uint16(body.length & 0xffff), body]);
}

const record = (fragment: Buffer, type = 22) => Buffer.concat([Buffer.of(type, 3, 1), vector(fragment)]);
const HELLO = record(handshake(hello(serverName('API.test'))));

describe('the server name of a ClientHello', () => {
  test.each<[string, ConnectionOptions]>([
    ['TLS 1.3', { minVersion: 'TLSv1.3' }],
    ['TLS 1.2', { maxVersion: 'TLSv1.2' }],
    ['ALPN', { ALPNProtocols: ['h2', 'http/1.1'] }],
    ['a post-quantum key share', { ecdhCurve: 'X25519MLKEM768' }],
  ])('is read from a real client with %s, wherever its bytes are cut', async (_, options) => {
    const bytes = await helloOf({ ...options, servername: 'Api.Example.test' });
    const expected = { kind: 'hello', serverName: 'api.example.test' };
    expect(read(bytes)).toEqual(expected);
    for (let at = 1; at < bytes.length; at++) {
      expect(read(bytes.subarray(0, at))).toEqual({ kind: 'incomplete' });
      expect(read(bytes.subarray(0, at), bytes.subarray(at))).toEqual(expected);
    }
    expect(read(...Array.from(bytes, (byte) => Buffer.of(byte)))).toEqual(expected);
  });

  test('is read from records of any size, and what came is at hand afterwards', () => {
    const message = handshake(hello(serverName('api.test')));
    for (const size of [1, 2, 3, 4, 5, 7, 20]) {
      const records: Buffer[] = [];
      for (let at = 0; at < message.length; at += size) records.push(record(message.subarray(at, at + size)));
      const kind = records.length > 64 ? 'malformed' : 'hello';
      expect(read(Buffer.concat(records)).kind).toBe(kind);
    }
    const reader = new ClientHelloReader();
    reader.push(HELLO.subarray(0, 10));
    reader.push(HELLO.subarray(10));
    expect(reader.bytes.equals(HELLO)).toBe(true);
  });

  test('is none where there is no such extension, or none at all', async () => {
    expect(read(await helloOf({}))).toEqual({ kind: 'hello', serverName: undefined });
    expect(read(record(handshake(hello(extension(43, Buffer.of(2, 3, 4))))))).toEqual({
      kind: 'hello',
      serverName: undefined,
    });
    expect(read(record(handshake(hello(undefined))))).toEqual({ kind: 'hello', serverName: undefined });
  });

  test('is the outer one of an encrypted ClientHello', () => {
    const ech = extension(0xfe0d, Buffer.alloc(200, 1));
    expect(read(record(handshake(hello(Buffer.concat([ech, serverName('outer.test')])))))).toEqual({
      kind: 'hello',
      serverName: 'outer.test',
    });
  });

  test.each<[string, Buffer]>([
    ['a record of another type', record(handshake(hello(serverName('a.test'))), 23)],
    ['an empty record', record(Buffer.alloc(0))],
    ['a record that is too long', Buffer.of(22, 3, 1, 0x40, 1)],
    ['another version', Buffer.of(22, 2, 0, 0, 1, 1)],
    ['another handshake message', record(handshake(hello(serverName('a.test')), 2))],
    ['a message behind it', record(Buffer.concat([handshake(hello(serverName('a.test'))), Buffer.of(1)]))],
    ['an unknown version of the hello', record(handshake(hello(serverName('a.test'), { version: Buffer.of(2, 0) })))],
    ['a session id that is too long', record(handshake(hello(serverName('a.test'), { session: Buffer.alloc(33) })))],
    ['half a cipher suite', record(handshake(hello(serverName('a.test'), { suites: Buffer.of(1, 2, 3) })))],
    ['no cipher suite', record(handshake(hello(serverName('a.test'), { suites: Buffer.alloc(0) })))],
    ['an extension twice', record(handshake(hello(Buffer.concat([serverName('a.test'), serverName('b.test')]))))],
    ['two names', record(handshake(hello(serverName('a.test', 'b.test'))))],
    ['a name that is empty', record(handshake(hello(serverName(''))))],
    ['a name with a NUL', record(handshake(hello(serverName('a.test\0b.test'))))],
    ['a name with a line feed', record(handshake(hello(serverName('a.test\r\nb'))))],
    ['an extension that is cut short', record(handshake(hello(Buffer.of(0, 0, 0, 9, 0))))],
    ['bytes behind the extensions', record(handshake(Buffer.concat([hello(serverName('a.test')), Buffer.of(0)])))],
    ['a length beyond all bounds', Buffer.concat(Array.from({ length: 3 }, () => record(Buffer.alloc(16_384, 1))))],
  ])('is not looked for in what has %s', (_, bytes) => {
    expect(read(bytes).kind).toBe('malformed');
    const single = Array.from(bytes, (byte) => Buffer.of(byte));
    expect(read(...single).kind).toBe('malformed');
  });

  test('any bytes are read or refused, the same however they are cut', () => {
    const mutated = fc.array(fc.tuple(fc.nat(HELLO.length - 1), fc.nat(255)), { maxLength: 4 }).map((changes) => {
      const bytes = Buffer.from(HELLO);
      for (const [at, value] of changes) bytes[at] = value;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 300 }).map(Buffer.from)), fc.nat(300), (bytes, cut) => {
        const whole = read(bytes);
        const parts = read(bytes.subarray(0, cut), bytes.subarray(cut));
        expect(parts.kind).toBe(whole.kind);
        if (whole.kind === 'hello') expect(parts).toEqual(whole);
      }),
      { numRuns: 5_000 },
    );
  });
});
