import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const START_LIMIT_MS = 10_000;

/** A port of 127.0.0.1 that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Waits until a process listens. @throws Error with `missing` if it cannot be started */
export async function listening(child: ChildProcess, port: number, missing: string): Promise<void> {
  let failure: Error | undefined;
  child.on('error', () => {
    failure = new Error(missing);
  });
  child.on('exit', (code) => {
    failure = new Error(`${child.spawnfile} ended with ${code}`);
  });
  for (let waitedMs = 0; waitedMs < START_LIMIT_MS; waitedMs += 20) {
    if (failure !== undefined) throw failure;
    const socket = connect(port, '127.0.0.1');
    const open = await Promise.race([once(socket, 'connect'), once(socket, 'close')]).then(
      () => !socket.destroyed,
      () => false,
    );
    socket.destroy();
    if (open) return;
    await sleep(20);
  }
  throw new Error(`${child.spawnfile} does not listen`);
}
