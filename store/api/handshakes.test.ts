import { once } from 'node:events';
import { createServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { createTestCa } from '../../sidecar/upstream/testkit.ts';
import { type HandshakeBounds, Handshakes } from './handshakes.ts';

async function serve(bounds: Partial<HandshakeBounds> = {}) {
  const ca = createTestCa('store');
  const { key, cert } = ca.issue({ dnsNames: ['store.test'] });
  const server = createServer({ key, cert, handshakeTimeout: 500 }, (_request, response) => response.end('well'));
  const handshakes = new Handshakes(server, {
    handshakeLimit: 2,
    handshakeQueue: 4,
    handshakeWaitMs: 2_000,
    ...bounds,
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const greet = () =>
    new Promise<string>((resolve) => {
      const socket = tlsConnect({ host: '127.0.0.1', port, ca: ca.pem, servername: 'store.test' });
      onTestFinished(() => void socket.destroy());
      socket.once('secureConnect', () => resolve('served'));
      socket.once('error', () => resolve('cut off'));
    });
  const silent = () => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    onTestFinished(() => void socket.destroy());
    return once(socket, 'connect').then(() => socket);
  };
  return { greet, handshakes, silent };
}

test('more than may go on at once are served in turn', async () => {
  const { greet, handshakes } = await serve({ handshakeQueue: 100 });
  expect(new Set(await Promise.all(Array.from({ length: 50 }, greet)))).toEqual(new Set(['served']));
  await expect.poll(() => handshakes.stats).toEqual({ running: 0, waiting: 0, cutOff: 0 });
});

test('clients that say nothing hold up others no longer than a handshake may take', async () => {
  const { greet, handshakes, silent } = await serve();
  const ended = (await Promise.all([silent(), silent()])).map((socket) => once(socket.resume(), 'close'));
  await expect.poll(() => handshakes.stats.running).toBe(2);
  const began = performance.now();
  expect(await greet()).toBe('served');
  expect(performance.now() - began).toBeLessThan(1_500);
  await Promise.all(ended);
});

test('beyond the queue connections are cut off at once', async () => {
  const { greet, handshakes, silent } = await serve();
  for (let i = 0; i < 6; i += 1) await silent();
  await expect.poll(() => handshakes.stats).toMatchObject({ running: 2, waiting: 4 });
  expect(await greet()).toBe('cut off');
  expect(handshakes.stats.cutOff).toBe(1);
});

test('whoever has waited too long is not begun with, and who left makes room', async () => {
  const { greet, handshakes, silent } = await serve({ handshakeLimit: 1, handshakeWaitMs: 50 });
  const first = await silent();
  await expect.poll(() => handshakes.stats.running).toBe(1);
  const late = greet();
  await new Promise((resolve) => setTimeout(resolve, 150));
  first.destroy();
  expect(await late).toBe('cut off');
  expect(await greet()).toBe('served');
});
