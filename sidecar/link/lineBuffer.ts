const LF = 0x0a;

/** Cuts a stream of bytes into lines of UTF-8 text. */
export class LineBuffer {
  readonly #limitBytes: number;
  readonly #line: (line: string) => void;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(limitBytes: number, line: (line: string) => void) {
    this.#limitBytes = limitBytes;
    this.#line = line;
  }

  /** Copies what it keeps. @throws RangeError if a line is too long, and what `line` throws */
  push(chunk: Buffer): void {
    let from = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, from)) {
      this.#keep(chunk.subarray(from, end));
      from = end + 1;
      const line = this.rest();
      if (line.length > 0) this.#line(line.toString());
    }
    this.#keep(chunk.subarray(from));
  }

  /** What came after the last line; forgotten here. */
  rest(): Buffer {
    const rest = Buffer.concat(this.#pieces, this.#bytes);
    this.#pieces = [];
    this.#bytes = 0;
    return rest;
  }

  #keep(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#bytes += piece.length;
    if (this.#bytes > this.#limitBytes) throw new RangeError(`a line is longer than ${this.#limitBytes} bytes`);
    this.#pieces.push(Buffer.from(piece));
  }
}
