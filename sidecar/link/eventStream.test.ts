import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createSecureContext, createServer, type TLSSocket } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import type { SessionEvent } from '../../api/protocol.ts';
import { STORE_DNS_NAME } from '../../api/protocol.ts';
import { createTestCa } from '../upstream/testkit.ts';
import { EventStream } from './eventStream.ts';
import { StoreReplicas } from './storeReplicas.ts';
import { quiet, until } from './testkit.ts';

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n';
const line = (event: object) => {
  const text = `${JSON.stringify(event)}\n`;
  return `${text.length.toString(16)}\r\n${text}\r\n`;
};
const SNAPSHOT: SessionEvent = { type: 'snapshot', grants: [], versions: {} };

/** A store that says what the test wants, byte by byte. */
async function follow(answer: (socket: TLSSocket, attempt: number) => void, silenceMs?: number, pollMs?: number) {
  const ca = createTestCa('store');
  const { key, cert } = ca.issue({ dnsNames: [STORE_DNS_NAME] });
  const attemptsMs: number[] = [];
  const paths: string[] = [];
  const sockets = new Set<TLSSocket>();
  const server = createServer({ key, cert }, (socket) => {
    attemptsMs.push(performance.now());
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    socket.once('data', (chunk) => {
      paths.push(chunk.toString('latin1').split(' ')[1]!);
      answer(socket, attemptsMs.length);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const events: SessionEvent[] = [];
  const revoked: string[] = [];
  const stream = new EventStream({
    replicas: new StoreReplicas([{ host: '127.0.0.1', port: (server.address() as AddressInfo).port }]),
    context: () => createSecureContext({ ca: ca.pem }),
    event: (event) => events.push(event),
    log: quiet,
    revoked: (reason) => revoked.push(reason),
    ...(silenceMs !== undefined && { silenceMs }),
    ...(pollMs !== undefined && { pollMs }),
  });
  onTestFinished(() => {
    stream.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { attemptsMs, events, paths, revoked, sockets };
}

test('events come however the bytes are cut', async () => {
  const grant = { type: 'revoke', integration: 'default/ünïcode' } as const;
  const { events } = await follow((socket) => {
    const text = HEAD + line(SNAPSHOT);
    const body = Buffer.from(`${JSON.stringify(grant)}\n`);
    const bytes = Buffer.concat([Buffer.from(`${text}${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n')]);
    const next = (at: number) => {
      if (at < bytes.length) socket.write(bytes.subarray(at, at + 1), () => setImmediate(next, at + 1));
    };
    next(0);
  });
  await until(() => events.length === 2);
  expect(events).toEqual([SNAPSHOT, grant]);
});

test('three heartbeats missed, and the stream is opened anew', async () => {
  const { attemptsMs, events } = await follow((socket) => {
    socket.write(HEAD + line(SNAPSHOT));
  }, 150);
  await until(() => attemptsMs.length === 3);
  expect(events.slice(0, 2)).toEqual([SNAPSHOT, SNAPSHOT]);
  expect(attemptsMs[1]! - attemptsMs[0]!).toBeGreaterThan(150);
});

test('heartbeats keep a stream open', async () => {
  const { attemptsMs } = await follow((socket) => {
    socket.write(HEAD + line(SNAPSHOT));
    const timer = setInterval(() => socket.write(line({ type: 'heartbeat' })), 30);
    socket.on('close', () => clearInterval(timer));
  }, 150);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(attemptsMs.length).toBe(1);
});

test('a stream that breaks off goes on where it was', async () => {
  const { events, paths } = await follow((socket, attempt) => {
    if (attempt === 1) socket.end(HEAD + line({ ...SNAPSHOT, cursor: 'a.b.1' }) + line({ type: 'heartbeat' }));
    else socket.write(HEAD + line({ type: 'resumed', cursor: 'a.b.1' }));
  });
  await until(() => events.length === 3);
  expect(paths).toEqual(['/v1/session/events?cursor=', '/v1/session/events?cursor=a.b.1']);
  expect(events.at(-1)).toEqual({ type: 'resumed', cursor: 'a.b.1' });
});

test('a stream that breaks off within a change begins anew, for it does not know where it was', async () => {
  const { paths } = await follow((socket, attempt) => {
    if (attempt === 1)
      socket.end(HEAD + line({ ...SNAPSHOT, cursor: 'a' }) + line({ type: 'revoke', integration: 'default/example' }));
    else socket.write(HEAD + line(SNAPSHOT));
  });
  await until(() => paths.length === 2);
  expect(paths[1]).toBe('/v1/session/events?cursor=');
});

test('a store that sends streams away is asked again no sooner than it says', async () => {
  const body = '{"code":"Overloaded","message":"x"}';
  const head = `HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: ${body.length}\r\n\r\n`;
  const { attemptsMs } = await follow((socket) => socket.write(head + body));
  await until(() => attemptsMs.length === 2);
  expect(attemptsMs[1]! - attemptsMs[0]!).toBeGreaterThan(950);
});

test('where no stream can be had the store is polled, and asked for no more than what is new', async () => {
  const stands = /^\/v1\/session\/events/;
  const { events, paths } = await follow(
    (socket) => {
      // Something between holds back what has no end.
      if (stands.test(paths.at(-1)!)) return;
      const known = paths.at(-1)!.endsWith('=c');
      const text = line(known ? { type: 'resumed', cursor: 'c' } : { ...SNAPSHOT, cursor: 'c' });
      socket.end(`${HEAD}${text}0\r\n\r\n`);
    },
    60_000,
    100,
  );
  await until(() => events.length >= 2);
  expect(events.slice(0, 2)).toEqual([
    { ...SNAPSHOT, cursor: 'c' },
    { type: 'resumed', cursor: 'c' },
  ]);
  expect(paths.filter((path) => !stands.test(path)).slice(0, 2)).toEqual([
    '/v1/session/snapshot?cursor=',
    '/v1/session/snapshot?cursor=c',
  ]);
});

test('while the stream lives the store is not polled', async () => {
  const { paths } = await follow(
    (socket) => {
      socket.write(HEAD + line(SNAPSHOT));
      const timer = setInterval(() => socket.write(line({ type: 'heartbeat' })), 20);
      socket.on('close', () => clearInterval(timer));
    },
    1_000,
    200,
  );
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(paths).toEqual(['/v1/session/events?cursor=']);
});

test.each([
  ['an answer that is no HTTP', 'hello\r\n\r\n'],
  ['a line that is no JSON', `${HEAD}5\r\n{{{}\n\r\n`],
  ['an error without a code', 'HTTP/1.1 500 Broken\r\ncontent-length: 2\r\n\r\nno'],
  ['an error of the store', 'HTTP/1.1 503 Busy\r\ncontent-length: 35\r\n\r\n{"code":"Overloaded","message":"x"}'],
])('%s is survived', async (_, bytes) => {
  const { attemptsMs, revoked } = await follow((socket) => socket.write(bytes));
  await until(() => attemptsMs.length === 2);
  expect(revoked).toEqual([]);
});

test('a session that the store has forgotten is over', async () => {
  const body = '{"code":"IdentityRevoked","message":"it ended"}';
  const { attemptsMs, revoked } = await follow((socket) =>
    socket.write(`HTTP/1.1 401 Unauthorized\r\ncontent-length: ${body.length}\r\n\r\n${body}`),
  );
  await until(() => revoked.length > 0);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect([attemptsMs.length, revoked]).toEqual([1, ['IdentityRevoked: it ended']]);
});

test('after the end of the session nothing is opened any more', async () => {
  const { attemptsMs, events } = await follow((socket) => {
    socket.end(HEAD + line(SNAPSHOT) + line({ type: 'end', reason: 'because' }));
  });
  await until(() => events.length === 2);
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(attemptsMs.length).toBe(1);
});
