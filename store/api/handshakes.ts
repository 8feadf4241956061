import type { Server } from 'node:https';
import type { Socket } from 'node:net';

export interface HandshakeBounds {
  /** TLS handshakes that go on at one time. */
  handshakeLimit: number;
  /** Connections that wait for theirs, and how long: whoever has waited longer has most likely given up. */
  handshakeQueue: number;
  handshakeWaitMs: number;
}

/**
 * Lets so many TLS handshakes go on at once, the others in turn. When thousands come back at the same time, each that is served is served
 * in time; begun all at once, none would be done before its client gives up. Who does not fit is cut off, and comes back after a pause.
 */
export class Handshakes {
  readonly #bounds: HandshakeBounds;
  readonly #running = new Map<string, Socket>();
  readonly #waiting: { socket: Socket; untilMs: number }[] = [];
  #begin: (socket: Socket) => void;
  #cutOff = 0;

  constructor(server: Server, bounds: HandshakeBounds) {
    this.#bounds = bounds;
    const listeners = server.listeners('connection');
    server.removeAllListeners('connection');
    this.#begin = (socket) => {
      for (const listener of listeners) listener.call(server, socket);
    };
    server.on('connection', (socket: Socket) => this.#arrived(socket));
    server.on('secureConnection', (socket) => this.#done(keyOf(socket)));
  }

  /** How many go on, wait, and were ever cut off. */
  get stats(): { running: number; waiting: number; cutOff: number } {
    return { running: this.#running.size, waiting: this.#waiting.length, cutOff: this.#cutOff };
  }

  #arrived(socket: Socket): void {
    if (this.#running.size < this.#bounds.handshakeLimit) this.#run(socket);
    else if (this.#waiting.length >= this.#bounds.handshakeQueue) this.#refuse(socket);
    else {
      socket.on('error', noTrouble);
      this.#waiting.push({ socket, untilMs: performance.now() + this.#bounds.handshakeWaitMs });
    }
  }

  #run(socket: Socket): void {
    const key = keyOf(socket);
    this.#running.set(key, socket);
    // Done, failed or too late: a socket that is over makes room in any case.
    socket.once('close', () => this.#done(key, socket));
    this.#begin(socket);
  }

  #done(key: string, socket?: Socket): void {
    if (socket !== undefined && this.#running.get(key) !== socket) return;
    if (!this.#running.delete(key)) return;
    while (this.#running.size < this.#bounds.handshakeLimit) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      next.socket.off('error', noTrouble);
      if (next.socket.destroyed) continue;
      if (next.untilMs < performance.now()) this.#refuse(next.socket);
      else this.#run(next.socket);
    }
  }

  #refuse(socket: Socket): void {
    this.#cutOff += 1;
    socket.on('error', noTrouble);
    socket.resetAndDestroy();
  }
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

function noTrouble(): void {}
