import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const PATIENCE_MS = 3_000;

/** Sends the bytes and FIN, and waits until the server is done with the connection. Gives the client's port. */
export async function send(serverPort: number, bytes: Buffer): Promise<number> {
  const socket = connect({ port: serverPort, host: '127.0.0.1', allowHalfOpen: true });
  // A server that refuses may reset the connection while bytes are on their way.
  socket.on('error', () => {});
  await once(socket, 'connect');
  const { localPort } = socket;
  const closed = closing(socket);
  socket.resume();
  socket.end(bytes);
  await closed;
  return localPort!;
}

function closing(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => socket.destroy(), PATIENCE_MS);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
