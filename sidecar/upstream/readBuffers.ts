/** More than these at hand are left to the garbage collector. */
const SPARE_LIMIT = 64;

/**
 * Buffers of one size that sockets read into and that are used again, so that a large body leaves no garbage behind.
 *
 * Node gives every read memory of its own (TLS: 64 KiB for four reads), which is only freed by the garbage collector: 100 MB in a
 * row cost some 50 MB of resident memory and a fifth of the CPU.
 */
export class ReadBuffers {
  readonly sizeBytes: number;
  readonly #spare: Buffer[] = [];
  readonly #lent = new WeakSet<ArrayBufferLike>();

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
  }

  take(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.sizeBytes);
  }

  /** Gives a view of the first bytes away; the buffer is not used again until `recycle` gets that view back. */
  lend(buffer: Buffer, bytes: number): Buffer {
    this.#lent.add(buffer.buffer);
    return buffer.subarray(0, bytes);
  }

  /** Takes a lent chunk back. Anything else, or the same one twice, is left alone. */
  recycle(chunk: Buffer): void {
    if (this.#lent.delete(chunk.buffer)) this.give(Buffer.from(chunk.buffer));
  }

  /** Takes back what was taken. */
  give(buffer: Buffer): void {
    if (this.#spare.length < SPARE_LIMIT) this.#spare.push(buffer);
  }
}
