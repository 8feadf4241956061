const LIMIT_BYTES = 64 * 1024;

/** All of a request's body that has come so far, as the agent sent it, while that is little enough to be sent once more. */
export class Replay {
  readonly chunks: Buffer[] = [];
  #bytes = 0;

  /** Keeps the bytes as they are, without a copy. False: it is too much. */
  add(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    if (this.#bytes > LIMIT_BYTES) return false;
    if (chunk.length > 0) this.chunks.push(chunk);
    return true;
  }
}
