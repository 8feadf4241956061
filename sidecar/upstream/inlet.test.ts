import { createHash, randomBytes } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { Inlet } from './inlet.ts';
import { ReadBuffers } from './readBuffers.ts';
import { acquire, connected, createTestCa, createUpstreams, listen, targetFor } from './testkit.ts';

describe('reads', () => {
  function setUp() {
    const buffers = new ReadBuffers(1_024);
    const inlet = new Inlet(buffers);
    const chunks: Buffer[] = [];
    inlet.receive = (chunk) => chunks.push(chunk);
    const { buffer, callback } = inlet.onread;
    const current = () => (buffer as () => Buffer)();
    /** What net does: fills the buffer, calls, asks for the next one. */
    const read = (text: string) => callback(current().write(text), current());
    return { buffers, inlet, chunks, read, current };
  }

  test('a small one is copied, so that the next one does not change it', () => {
    const { read, chunks, current } = setUp();
    const before = current();
    read('small');
    expect(current()).toBe(before);
    read('other');
    expect(chunks.map(String)).toEqual(['small', 'other']);
  });

  test('a large one stays as it is until it is recycled, and then is read into again', () => {
    const { read, chunks, current, inlet } = setUp();
    const [a, b, c] = ['a'.repeat(1_024), 'b'.repeat(300), 'c'.repeat(1_024)];
    read(a);
    read(b);
    expect(chunks.map(String)).toEqual([a, b]);
    inlet.recycle(chunks[0]!);
    read(c);
    expect(chunks.map(String)).toEqual([a, b, c]);
    expect(current().buffer).toBe(chunks[0]!.buffer);
  });

  test('what was recycled twice, or never lent, is not read into twice', () => {
    const { read, chunks, inlet, buffers } = setUp();
    read('a'.repeat(1_024));
    inlet.recycle(chunks[0]!);
    inlet.recycle(chunks[0]!);
    inlet.recycle(Buffer.alloc(1_024));
    inlet.recycle(Buffer.from('pooled'));
    const [first, second] = [buffers.take(), buffers.take()];
    expect(first.buffer).toBe(chunks[0]!.buffer);
    expect(second.buffer).not.toBe(first.buffer);
    expect(second).toHaveLength(1_024);
  });
});

const BODY = randomBytes(20 * 1024 * 1024);
const ca = createTestCa('Test CA');
const sendBody = (socket: Socket) => socket.on('error', () => {}).once('data', () => socket.end(BODY));
const servers: [string, 'http' | 'https', () => Server][] = [
  ['TLS', 'https', () => createTlsServer(ca.issue(), sendBody)],
  ['plain', 'http', () => createServer(sendBody)],
];

describe.each(servers)('large bodies over %s', (_, scheme, create) => {
  test('arrive intact on several connections while chunks are recycled late and in any order', async () => {
    const port = await listen(create());
    const upstreams = createUpstreams({ rootsPem: ca.pem });
    const download = async () => {
      const connection = await connected(acquire(upstreams, targetFor(port, { scheme }), true));
      const hash = createHash('sha256');
      const kept: Buffer[] = [];
      await new Promise<void>((resolve) => {
        connection.handler = {
          data(chunk) {
            kept.push(chunk);
            if (kept.length < 3) return;
            const [first] = kept.splice(0, 1);
            hash.update(first!);
            if (first!.length % 3 > 0) connection.recycle(first!);
          },
          end: resolve,
          closed: () => resolve(),
          drain() {},
        };
        connection.socket.write('go');
      });
      for (const chunk of kept) hash.update(chunk);
      return hash.digest('hex');
    };
    const expected = createHash('sha256').update(BODY).digest('hex');
    expect(await Promise.all([download(), download(), download()])).toEqual([expected, expected, expected]);
  });

  test('rule 12: stop soon when the borrower pauses, and go on from there', async () => {
    const port = await listen(create());
    const connection = await connected(
      acquire(createUpstreams({ rootsPem: ca.pem }), targetFor(port, { scheme }), true),
    );
    let received = 0;
    let pausedAt = 0;
    const over = new Promise<void>((resolve) => {
      connection.handler = {
        data(chunk) {
          received += chunk.length;
          if (pausedAt > 0) return;
          pausedAt = received;
          connection.socket.pause();
        },
        end: resolve,
        closed() {},
        drain() {},
      };
    });
    connection.socket.write('go');
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(received - pausedAt).toBeLessThanOrEqual(64 * 1024);
    connection.socket.resume();
    await over;
    expect(received).toBe(BODY.length);
  });
});
