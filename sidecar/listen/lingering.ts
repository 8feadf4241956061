import type { Socket } from 'node:net';
import { NO_SEAT } from '../roster.ts';
import type { ListenContext, Member } from './context.ts';

/** For the agent to read a last answer, once that is written, although it may still be sending. */
const LINGER_MS = 2_000;
/** What it may send meanwhile. */
const LIMIT_BYTES = 1024 * 1024;

/**
 * The end of an agent's connection: our half is closed, the agent's is read to nowhere until it closes or has had time to read.
 *
 * Closing with bytes unread would reset the connection under the last answer (RFC 9112 section 9.6).
 */
export class Lingering implements Member {
  seat = NO_SEAT;
  readonly #context: ListenContext;
  readonly #socket: Socket;
  #sinceMs: number;
  #bytes = 0;
  #unwritten = 0;

  /** Takes the socket over; its errors are watched already. */
  constructor(context: ListenContext, socket: Socket) {
    this.#context = context;
    this.#socket = socket;
    this.#sinceMs = context.nowMs;
    if (socket.destroyed) return;
    context.add(this);
    socket.on('close', () => context.remove(this));
    socket.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.length;
      if (this.#bytes > LIMIT_BYTES) socket.destroy();
    });
    socket.end();
    socket.resume();
  }

  sweep(nowMs: number): void {
    const { writableLength } = this.#socket;
    const limitMs = writableLength > 0 ? this.#context.deps.limits.silenceTimeoutMs : LINGER_MS;
    if (writableLength !== this.#unwritten) {
      this.#unwritten = writableLength;
      this.#sinceMs = nowMs;
    } else if (nowMs - this.#sinceMs > limitMs) this.destroy();
  }

  drain(): void {}

  destroy(): void {
    this.#socket.destroy();
  }
}
