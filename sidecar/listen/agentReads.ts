import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ReadBuffers } from '../upstream/readBuffers.ts';

/** What libuv reads at once from a plain socket. */
const READ_BYTES = 64 * 1024;
/** Chunks from this size on are worth lending; smaller ones are copies that the garbage collector takes. */
const LENT_BYTES = 16 * 1024;

interface Handled {
  _handle: SocketConstructorOpts['handle'] | null;
}

/**
 * How bytes of agents are read: all sockets into one buffer, of which each chunk is copied out.
 *
 * Node gives every read 64 KiB of its own, which only the garbage collector frees: an upload of 100 MB costs 60 MB of resident
 * memory. Sockets that are made by `connect` can be told where to read (`onread`), those of a server cannot, so a second socket
 * is put around the connection. That takes `_handle`, which Node does not document; where it is not as expected, the accepted
 * socket is used as it is.
 */
export class AgentReads {
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  readonly #large = new ReadBuffers(READ_BYTES);

  /** The socket to use instead of `accepted`; its chunks come as `data` events as ever. */
  adopt(accepted: Socket): Socket {
    const from = accepted as unknown as Handled;
    const handle = from._handle;
    if (!handle || !('useUserBuffer' in handle)) return accepted;
    from._handle = null;
    const onread: OnReadOpts = {
      buffer: this.#buffer,
      callback: (bytes) => {
        socket.emit('data', this.#copy(bytes));
        return true;
      },
    };
    const socket = new Socket({ handle, onread, allowHalfOpen: true });
    return socket;
  }

  /** The same for a TLS connection of an agent, around which no second socket can be put: it is told where to read as `Socket` tells itself. */
  adoptSecure(secure: TLSSocket): void {
    const { _handle: handle } = secure as unknown as { _handle: { useUserBuffer?(buffer: Buffer): void } | null };
    const own = secure as unknown as Record<symbol, unknown>;
    const [buffer, callback] = ['kBuffer', 'kBufferCb'].map((name) =>
      Object.getOwnPropertySymbols(secure).find(({ description }) => description === name),
    );
    if (typeof handle?.useUserBuffer !== 'function' || buffer === undefined || callback === undefined) return;
    own[buffer] = this.#buffer;
    own[callback] = (bytes: number) => {
      secure.emit('data', this.#copy(bytes));
      return true;
    };
    handle.useUserBuffer(this.#buffer);
  }

  /** Takes back a chunk of which nothing holds a view any more: it is overwritten soon. Other buffers are left alone. */
  recycle(chunk: Buffer): void {
    this.#large.recycle(chunk);
  }

  #copy(bytes: number): Buffer {
    if (bytes < LENT_BYTES) {
      const small = Buffer.allocUnsafe(bytes);
      this.#buffer.copy(small, 0, 0, bytes);
      return small;
    }
    const large = this.#large.take();
    this.#buffer.copy(large, 0, 0, bytes);
    return this.#large.lend(large, bytes);
  }
}
