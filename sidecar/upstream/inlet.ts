import type { OnReadOpts } from 'node:net';
import type { ReadBuffers } from './readBuffers.ts';

/** Where one socket's bytes go: small reads are copied, large ones lent with the buffer that they are in. */
export class Inlet {
  /** Set by whoever takes the connection over; until then nothing may arrive. */
  receive: (chunk: Buffer) => void = () => {};
  readonly onread: OnReadOpts;
  readonly #buffers: ReadBuffers;
  #buffer: Buffer;

  constructor(buffers: ReadBuffers) {
    this.#buffers = buffers;
    this.#buffer = buffers.take();
    this.onread = { buffer: () => this.#buffer, callback: (bytes) => this.#read(bytes) };
  }

  recycle(chunk: Buffer): void {
    this.#buffers.recycle(chunk);
  }

  /** To be called once, when the socket is closed and reads no more. */
  close(): void {
    this.#buffers.give(this.#buffer);
  }

  #read(bytes: number): boolean {
    const filled = this.#buffer;
    if (bytes < filled.length / 4) {
      const small = Buffer.allocUnsafe(bytes);
      filled.copy(small, 0, 0, bytes);
      this.receive(small);
    } else {
      this.#buffer = this.#buffers.take();
      this.receive(this.#buffers.lend(filled, bytes));
    }
    return true;
  }
}
