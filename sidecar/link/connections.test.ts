import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createSecureContext, createServer, type TLSSocket } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { STORE_DNS_NAME } from '../../api/protocol.ts';
import { createTestCa } from '../upstream/testkit.ts';
import { Connections } from './connections.ts';
import type { StoreFailure } from './storeFailure.ts';
import { StoreReplicas } from './storeReplicas.ts';

/** Connections to a store that says what the test wants; `answer` is called for each request. */
async function connections(answer: (socket: TLSSocket) => void) {
  const ca = createTestCa('store');
  const { key, cert } = ca.issue({ dnsNames: [STORE_DNS_NAME] });
  const sockets = new Set<TLSSocket>();
  let opened = 0;
  const server = createServer({ key, cert }, (socket) => {
    opened += 1;
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    socket.on('data', () => answer(socket));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const context = createSecureContext({ ca: ca.pem });
  const { port } = server.address() as AddressInfo;
  const all = new Connections(new StoreReplicas([{ host: '127.0.0.1', port }]), context);
  onTestFinished(() => {
    all.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const send = (timeoutMs = 5_000) =>
    all.send({ method: 'POST', path: '/', json: {} }, timeoutMs).then(
      ({ body }) => body.toString(),
      (error: StoreFailure) => `${error.code}: ${error.message}`,
    );
  return { all, context, send, opened: () => opened };
}

const ok = (body: string, head = '') => `HTTP/1.1 200 OK\r\n${head}content-length: ${body.length}\r\n\r\n${body}`;

test('many requests share four connections, in order, and the connections are used again', async () => {
  let count = 0;
  const { opened, send } = await connections((socket) => socket.write(ok(`${count++}`)));
  const answers = await Promise.all(Array.from({ length: 40 }, () => send()));
  expect(answers.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i));
  await send();
  expect(opened()).toBe(4);
});

test('a store that does not answer costs a request its time and no more, also those that wait', async () => {
  let silent = true;
  const { send } = await connections((socket) => {
    if (!silent) socket.write(ok('well'));
  });
  const answers = await Promise.all(Array.from({ length: 10 }, () => send(150)));
  expect(new Set(answers)).toEqual(new Set(['Unreachable: the store did not answer in time']));
  silent = false;
  expect(await send()).toBe('well');
});

test('only so many requests wait', async () => {
  const { send, all } = await connections(() => {});
  const waiting = Array.from({ length: 260 }, () => send());
  expect(await send()).toContain('wait already');
  all.close();
  expect((await Promise.all(waiting)).every((answer) => answer.startsWith('Unreachable'))).toBe(true);
  expect(await send()).toContain('closed');
});

test('under another identity other connections are used', async () => {
  const { all, context, opened, send } = await connections((socket) => setTimeout(() => socket.write(ok('x')), 50));
  await send();
  const busy = send();
  all.use(context);
  expect([await busy, await send(), opened()]).toEqual(['x', 'x', 2]);
});

test.each([
  ['is cut short', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf', 'end'],
  ['is too large', ok('x'.repeat(600_000)), ''],
  ['comes twice', ok('a') + ok('b'), ''],
  ['is no HTTP', 'hello there\r\n\r\n', ''],
  ['is an interim one', 'HTTP/1.1 100 Continue\r\n\r\n', ''],
])('an answer that %s fails the request', async (_, bytes, then) => {
  const { send } = await connections((socket) => {
    socket.write(bytes);
    if (then === 'end') socket.end();
  });
  // Of two answers at once the first may already have been taken, but its connection is not used again.
  expect(await send()).toMatch(/^(Unreachable: |a$)/);
});

test('an answer in many small pieces, chunked or to the end of the connection, is whole', async () => {
  const { send } = await connections((socket) => {
    const head = 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n';
    const bytes = Buffer.from(`${head}${'3\r\nabc\r\n'.repeat(50)}0\r\n\r\n`);
    const next = (at: number) => {
      if (at < bytes.length) socket.write(bytes.subarray(at, at + 5), () => setImmediate(next, at + 5));
    };
    next(0);
  });
  expect(await send()).toBe('abc'.repeat(50));
  const closing = await connections((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nto the end'));
  expect(await closing.send()).toBe('to the end');
});

test('where one replica is gone, or cannot reach its database, the next one is asked, and kept', async () => {
  const ca = createTestCa('store');
  const { key, cert } = ca.issue({ dnsNames: [STORE_DNS_NAME] });
  const asked = [0, 0];
  const unable = '{"code":"StorageFailed","message":"x"}';
  const servers = ['503 Unavailable', '200 OK'].map((status, index) =>
    createServer({ key, cert }, (socket) => {
      socket
        .on('error', () => {})
        .on('data', () => {
          asked[index]! += 1;
          const body = index === 0 ? unable : 'fine';
          socket.write(`HTTP/1.1 ${status}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
        });
    }),
  );
  for (const server of servers) await once(server.listen(0, '127.0.0.1'), 'listening');
  const [first, second] = servers.map((server) => ({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
  }));
  const gone = { host: '127.0.0.1', port: 1 };
  const replicas = new StoreReplicas([gone, first!, second!]);
  const all = new Connections(replicas, createSecureContext({ ca: ca.pem }));
  onTestFinished(() => {
    all.close();
    for (const server of servers) server.close();
  });
  const send = () =>
    all.send({ method: 'POST', path: '/', json: {} }, 5_000).then(
      ({ body }) => body.toString(),
      (error: StoreFailure) => error.code,
    );
  expect([await send(), await send(), await send(), await send()]).toEqual([
    'Unreachable',
    'StorageFailed',
    'fine',
    'fine',
  ]);
  expect([asked, replicas.current]).toEqual([[1, 2], second]);
});
