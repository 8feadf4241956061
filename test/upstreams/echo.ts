import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { LookAlike, pathOf } from './lookAlike.ts';
import type { UpstreamTls } from './tls.ts';

const ENDLESS_PIECE = Buffer.alloc(64 * 1024, 'x');

/** A request as it came in. */
export interface Echoed {
  method: string;
  target: string;
  httpVersion: string;
  /** As sent, in order. */
  headers: [string, string][];
  trailers: [string, string][];
  body: string;
}

/**
 * Echoes requests as JSON. Segments of the path are switches, in any number and order, such as `/chunked/gzip/delay-50`:
 *
 * - `chunked`, `close`: how the answer is framed; `gzip`: its coding; `trailers`: chunked, and `x-echo` again after the body
 * - `headers`: every field of the request comes back in a field `x-echo-<name>` as well
 * - `interim`: 102 and 103 first; `delay-<ms>`: waits before the answer; `slow-<bytes>`: that many bytes a write, 1 ms apart
 * - `status-<code>`; `redirect`: 302 to the query parameter `to`; `unauthorized-once`: 401 for the first request of a target
 * - `early`: answers and closes without reading the body; `endless`: never ends, in pieces of 64 KiB, or ticks `every-<ms>`
 *
 * An upgrade is accepted, and what comes then is sent back.
 */
export class Echo extends LookAlike {
  /** All requests so far; those whose body is not read (`early`) with an empty one. */
  readonly requests: Echoed[] = [];
  /** Bytes that `endless` answers have handed to the socket. */
  endlessBytes = 0;
  readonly #refusedOnce = new Set<string>();

  constructor(options: { tls?: UpstreamTls | undefined } = {}) {
    super(options);
    this.server.on('upgrade', (request, socket) => this.#upgrade(request, socket));
  }

  get last(): Echoed | undefined {
    return this.requests.at(-1);
  }

  protected override async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const switches = new Set(pathOf(request).split('/'));
    const number = (name: string): number | undefined => {
      const found = [...switches].find((segment) => segment.startsWith(`${name}-`));
      return found === undefined ? undefined : Number(found.slice(name.length + 1));
    };
    const echoed = echoOf(request);
    this.requests.push(echoed);
    if (switches.has('early')) {
      response.shouldKeepAlive = false;
    } else {
      echoed.body = (await buffer(request)).toString();
      echoed.trailers = pairs(request.rawTrailers);
    }
    if (switches.has('interim')) {
      response.writeProcessing();
      response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    }
    await sleep(number('delay') ?? 0);
    if (switches.has('headers'))
      for (const [name, value] of echoed.headers) response.appendHeader(`x-echo-${name}`, value);
    if (switches.has('endless')) return this.#endless(response, number('every'));
    if (switches.has('redirect'))
      response.setHeader('location', new URL(request.url!, 'http://x').searchParams.get('to') ?? '/');
    const status = switches.has('unauthorized-once') && !this.#refusedOnce.has(request.url!) ? 401 : number('status');
    if (status === 401) this.#refusedOnce.add(request.url!);
    response.statusCode = status ?? (switches.has('redirect') ? 302 : 200);
    await send(response, echoed, switches, number('slow'));
  }

  async #endless(response: ServerResponse, everyMs: number | undefined): Promise<void> {
    response.setHeader('content-type', everyMs === undefined ? 'application/octet-stream' : 'text/event-stream');
    const piece = everyMs === undefined ? ENDLESS_PIECE : Buffer.from('data: tick\n\n');
    while (!response.destroyed) {
      const room = response.write(piece);
      this.endlessBytes += piece.length;
      if (everyMs !== undefined) await sleep(everyMs);
      else if (!room) await drained(response);
    }
  }

  #upgrade(request: IncomingMessage, socket: Duplex): void {
    this.paths.push(pathOf(request));
    this.requests.push(echoOf(request));
    socket.on('error', () => socket.destroy());
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\n`,
    );
    socket.pipe(socket);
  }
}

async function send(
  response: ServerResponse,
  echoed: Echoed,
  switches: ReadonlySet<string>,
  slowBytes: number | undefined,
): Promise<void> {
  const text = Buffer.from(JSON.stringify(echoed));
  const body = switches.has('gzip') ? gzipSync(text) : text;
  response.setHeader('content-type', 'application/json');
  if (switches.has('gzip')) response.setHeader('content-encoding', 'gzip');
  if (switches.has('trailers')) {
    response.setHeader('trailer', 'x-echo');
    response.addTrailers(echoed.headers.map(([name, value]) => ['x-echo', `${name}=${value}`] as [string, string]));
  } else if (switches.has('close')) {
    // Neither length nor chunks: the end of the connection is the end of the body (RFC 9112 section 6.3).
    response.useChunkedEncodingByDefault = false;
    response.removeHeader('transfer-encoding');
    response.shouldKeepAlive = false;
  } else if (!switches.has('chunked')) {
    response.setHeader('content-length', body.length);
  }
  response.flushHeaders();
  for (let at = 0; slowBytes !== undefined && at < body.length && !response.destroyed; at += slowBytes) {
    response.write(body.subarray(at, at + slowBytes));
    await sleep(1);
  }
  response.end(slowBytes === undefined ? body : undefined);
}

function echoOf(request: IncomingMessage): Echoed {
  return {
    method: request.method!,
    target: request.url!,
    httpVersion: request.httpVersion,
    headers: pairs(request.rawHeaders),
    trailers: [],
    body: '',
  };
}

function pairs(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1]!] as [string, string]] : []));
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}
