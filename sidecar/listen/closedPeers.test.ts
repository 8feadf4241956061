import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { listen } from '../upstream/testkit.ts';
import { ClosedPeers } from './closedPeers.ts';

test('a closed agent is told from one that closed its sending half only', async () => {
  const accepted: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket.resume());
  });
  const port = await listen(server);
  const half = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  await once(half, 'connect');
  const gone = connect({ port, host: '127.0.0.1' });
  await once(gone, 'connect');
  await expect.poll(() => accepted.length).toBe(2);
  half.end();
  gone.destroy();
  await Promise.all(accepted.map((socket) => once(socket, 'end')));
  const peers = new ClosedPeers();
  const told: (number | undefined)[] = [];
  for (const socket of accepted) peers.ask(socket, () => told.push(socket.remotePort));
  await expect.poll(() => told.length).toBe(1);
  expect(accepted.findIndex((socket) => socket.remotePort === told[0])).toBe(1);
  half.destroy();
  // The FIN has come long ago, so only asking again tells.
  await once(half, 'close');
  peers.ask(accepted[0]!, () => told.push(0));
  await expect.poll(() => told.length).toBe(2);
  for (const socket of accepted) socket.destroy();
});
