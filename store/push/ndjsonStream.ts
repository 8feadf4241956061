import type { ServerResponse } from 'node:http';

const CONTENT_TYPE = 'application/x-ndjson';
/** Heartbeats that a reader may leave unread. */
const MISSED_LIMIT = 3;
const HEARTBEAT = lineOf({ type: 'heartbeat' });

/** An answer without end: one JSON object a line. A reader that falls too far behind is cut off, so that it costs a bounded amount of memory. */
export class NdjsonStream {
  readonly #response: ServerResponse;
  readonly #lagLimitBytes: number;
  #missed = 0;

  constructor(response: ServerResponse, lagLimitBytes: number) {
    this.#response = response;
    this.#lagLimitBytes = lagLimitBytes;
    response.on('error', () => response.destroy());
    response.writeHead(200, { 'content-type': CONTENT_TYPE, 'cache-control': 'no-store' });
  }

  get closed(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  onClose(listener: () => void): void {
    this.#response.once('close', listener);
  }

  send(line: object): void {
    this.write(lineOf(line));
  }

  /** Whole lines that may be on their way to others too: nobody changes them any more. */
  write(lines: Buffer): void {
    if (this.closed) return;
    if (this.#response.writableLength > this.#lagLimitBytes) this.#response.destroy();
    else this.#response.write(lines);
  }

  heartbeat(): void {
    this.#missed = this.#response.writableNeedDrain ? this.#missed + 1 : 0;
    if (this.#missed >= MISSED_LIMIT) this.#response.destroy();
    else this.write(HEARTBEAT);
  }

  end(line?: object): void {
    if (this.closed) return;
    if (line !== undefined) this.send(line);
    this.#response.end();
  }
}

function lineOf(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}
