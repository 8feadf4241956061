import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { portInUse, portOwner } from './portOwner.ts';

test('names the process that listens on a port', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  expect(portOwner(port)?.pid).toBe(process.pid);
  expect(portInUse(port)).toMatch(`port ${port} is in use by `);
  expect(portInUse(port)).toMatch(`(pid ${process.pid})`);
  server.close();
  await once(server, 'close');
  expect(portOwner(port)).toBeUndefined();
});
