import type { Socket } from 'node:net';
import type { AgentReads } from '../listen/agentReads.ts';
import type { Scrubber } from '../scrub/scrubber.ts';
import type { UpstreamConnection, UpstreamHandler } from '../upstream/upstreams.ts';
import { WORTH_RECYCLING_BYTES } from './outbox.ts';

export interface SpliceOptions {
  client: Socket;
  upstream: UpstreamConnection;
  /** Where the client's chunks go back to. */
  reads: AgentReads;
  /** Looks through what comes down, if a credential went up. */
  scrubber?: Scrubber | undefined;
  /** Called once, when both directions are over or one was cut. */
  closed(bytes: { up: number; down: number }): void;
}

/**
 * Two sockets joined byte by byte: a blind tunnel, or a connection after 101 Switching Protocols.
 *
 * A FIN on one side is passed on and the other direction goes on; a reset on one side resets the other.
 */
export class Splice implements UpstreamHandler {
  readonly #options: SpliceOptions;
  #up = 0;
  #down = 0;
  #clientEnded = false;
  #upstreamEnded = false;
  #over = false;

  constructor(options: SpliceOptions) {
    this.#options = options;
    options.upstream.handler = this;
  }

  /** Bytes both ways so far. */
  get bytes(): number {
    return this.#up + this.#down;
  }

  clientData(chunk: Buffer): void {
    this.#up += chunk.length;
    const { client, reads, upstream } = this.#options;
    const room =
      chunk.length < WORTH_RECYCLING_BYTES
        ? upstream.socket.write(chunk)
        : upstream.socket.write(chunk, () => reads.recycle(chunk));
    if (!room) client.pause();
  }

  clientEnd(): void {
    if (this.#clientEnded) return;
    this.#clientEnded = true;
    this.#options.upstream.socket.end();
    this.#finishIfEnded();
  }

  clientDrained(): void {
    this.#options.upstream.socket.resume();
  }

  clientClosed(): void {
    this.#finish(false);
  }

  data(chunk: Buffer): void {
    this.#down += chunk.length;
    const { client, scrubber, upstream } = this.#options;
    if (scrubber !== undefined) scrubber.push(chunk, this.#write);
    else if (chunk.length < WORTH_RECYCLING_BYTES) client.write(chunk);
    else client.write(chunk, () => upstream.recycle(chunk));
    if (client.writableNeedDrain) upstream.socket.pause();
  }

  drain(): void {
    this.#options.client.resume();
  }

  end(): void {
    if (this.#upstreamEnded) return;
    this.#upstreamEnded = true;
    const { client, scrubber } = this.#options;
    scrubber?.flush(this.#write);
    client.end();
    this.#finishIfEnded();
  }

  closed(error: Error | undefined): void {
    if (error === undefined) this.end();
    this.#finish(error !== undefined);
  }

  /** Ends both sides at once: the credential was revoked, the stream is silent for too long, or the sidecar stops. */
  cut(): void {
    this.#finish(true);
  }

  readonly #write = (piece: Buffer): void => {
    this.#options.client.write(piece);
  };

  /** Both FINs are passed on: the sockets close by themselves once what is written has gone out. */
  #finishIfEnded(): void {
    if (!this.#clientEnded || !this.#upstreamEnded) return;
    this.#over = true;
    this.#options.closed({ up: this.#up, down: this.#down });
  }

  #finish(hard: boolean): void {
    const { client, upstream } = this.#options;
    if (hard) client.destroy();
    upstream.destroy();
    if (this.#over) return;
    this.#over = true;
    upstream.handler = undefined;
    this.#options.closed({ up: this.#up, down: this.#down });
  }
}
