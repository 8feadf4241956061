import type { Socket } from 'node:net';
import type { Dialled } from './dial.ts';
import type { Inlet } from './inlet.ts';

/** What a borrower of a connection hears; each call is about the connection it set itself on. */
export interface UpstreamHandler {
  /** The borrower's to keep and to write into. After `socket.pause()` what was read already (64 KiB at most) still comes. */
  data(chunk: Buffer): void;
  /** The upstream's FIN: no more data; our half stays open until `destroy` or `socket.end()`. */
  end(): void;
  /** Always the last call. */
  closed(error: Error | undefined): void;
  /** The socket takes more. */
  drain(): void;
}

/** A connection to an upstream as its borrower sees it. */
export interface UpstreamConnection {
  readonly socket: Socket;
  /** Whether it has carried an exchange before, so that a failure before the first byte may be a stale connection. */
  readonly reused: boolean;
  /** Set by the borrower in the callback of `acquire`; undefined while idle. */
  handler: UpstreamHandler | undefined;
  /** Gives it back for others; the exchange is over and everything it sent was read. `hintSeconds`: `timeout` of the upstream's Keep-Alive field. */
  release(hintSeconds?: number): void;
  destroy(): void;
  /**
   * Gives a chunk back, in whole, for the next read: large bodies then leave no garbage behind. Optional, and only once nothing
   * holds a view of it any more: it is overwritten at once. A chunk that was not lent is left alone.
   */
  recycle(chunk: Buffer): void;
}

/** What a connection tells the pool it belongs to. */
export interface ConnectionOwner {
  released(connection: PooledConnection, hintSeconds: number | undefined): void;
  /** Called once, when the socket is closed. */
  gone(connection: PooledConnection): void;
}

/** One connection with its listeners, attached once for all the exchanges that it carries. */
export class PooledConnection implements UpstreamConnection {
  readonly socket: Socket;
  readonly id: string;
  readonly openedAtMs: number;
  handler: UpstreamHandler | undefined;
  reused = false;
  /** Monotonic time until which it may lie idle; set by the pool. */
  idleUntilMs = 0;
  /** Whether a borrower has it. */
  lent = true;
  readonly #owner: ConnectionOwner;
  readonly #inlet: Inlet | undefined;
  #error: Error | undefined;

  constructor({ socket, inlet }: Dialled, id: string, openedAtMs: number, owner: ConnectionOwner) {
    this.socket = socket;
    this.#inlet = inlet;
    this.id = id;
    this.openedAtMs = openedAtMs;
    this.#owner = owner;
    const receive = (chunk: Buffer) => {
      // An upstream that speaks unasked would answer the next request with it.
      if (this.handler === undefined) socket.destroy();
      else this.handler.data(chunk);
    };
    if (inlet === undefined) socket.on('data', receive);
    else inlet.receive = receive;
    socket.on('end', () => {
      if (this.handler === undefined) socket.destroy();
      else this.handler.end();
    });
    socket.on('drain', () => this.handler?.drain());
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      const { handler } = this;
      this.handler = undefined;
      owner.gone(this);
      handler?.closed(this.#error);
    });
    // `end` comes only to who reads, and asking for a tunnel leaves the socket paused.
    socket.resume();
  }

  /** Whether another exchange may use it: both halves open, and no more of the last one left than what is just being written. */
  get clean(): boolean {
    const { socket } = this;
    return !socket.destroyed && !socket.readableEnded && socket.writable && !socket.writableNeedDrain;
  }

  release(hintSeconds?: number): void {
    // Twice would hand it to two borrowers at once.
    if (!this.lent) return;
    this.lent = false;
    this.handler = undefined;
    this.#owner.released(this, hintSeconds);
  }

  destroy(): void {
    this.socket.destroy();
  }

  recycle(chunk: Buffer): void {
    this.#inlet?.recycle(chunk);
  }
}
