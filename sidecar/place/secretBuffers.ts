import { secretBuffer } from '../../lib/secretBuffer.ts';

/** Buffers that hold material, each with memory of its own, overwritten together. */
export class SecretBuffers {
  readonly #buffers: Buffer[] = [];

  alloc(bytes: number): Buffer {
    const buffer = secretBuffer(bytes);
    this.#buffers.push(buffer);
    return buffer;
  }

  concat(parts: readonly Uint8Array[]): Buffer {
    const whole = this.alloc(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  destroy(): void {
    for (const buffer of this.#buffers) buffer.fill(0);
    this.#buffers.length = 0;
  }
}
