import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { NdjsonStream } from './ndjsonStream.ts';

const server = createServer();
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test('a reader that leaves three heartbeats unread is cut off, however little it lags', async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const arrived = once(server, 'request') as Promise<[IncomingMessage, ServerResponse]>;
  const request = get({ port: (server.address() as AddressInfo).port, agent: false });
  const [, response] = await arrived;
  const stream = new NdjsonStream(response, 100 * 1024 * 1024);
  response.flushHeaders();
  const [answer] = (await once(request, 'response')) as [IncomingMessage];
  answer.on('error', () => {}).pause();
  // Until the kernel's own buffers are full and stay so.
  for (let full = 0; full < 3; full = response.writableNeedDrain ? full + 1 : 0) {
    stream.send({ filler: 'x'.repeat(256 * 1024) });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  stream.heartbeat();
  stream.heartbeat();
  expect(stream.closed).toBe(false);
  stream.heartbeat();
  expect(stream.closed).toBe(true);
});
