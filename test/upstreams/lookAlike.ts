import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { errorText } from '../../lib/errors.ts';
import type { UpstreamTls } from './tls.ts';

/** A server on 127.0.0.1 that stands in for somebody's API; plain http without `tls`. */
export abstract class LookAlike {
  /** Paths of all requests so far, without query. */
  readonly paths: string[] = [];
  protected readonly server: Server;
  readonly #scheme: 'http' | 'https';

  constructor(options: { tls?: UpstreamTls | undefined } = {}) {
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      this.paths.push(pathOf(request));
      this.answer(request, response).catch((error: unknown) => {
        // The demo's output is for people; a test sees the 500.
        if (response.headersSent) response.destroy();
        else json(response, 500, { error: { message: errorText(error), type: 'server_error' } });
      });
    };
    this.#scheme = options.tls === undefined ? 'http' : 'https';
    this.server = options.tls === undefined ? createServer(listener) : createTlsServer(options.tls, listener);
  }

  async start(): Promise<this> {
    await once(this.server.listen(0, '127.0.0.1'), 'listening');
    return this;
  }

  async close(): Promise<void> {
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `${this.#scheme}://127.0.0.1:${this.port}`;
  }

  protected abstract answer(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

export function pathOf(request: IncomingMessage): string {
  return request.url!.split('?', 1)[0]!;
}

export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = Buffer.from(`${JSON.stringify(body, undefined, 2)}\n`);
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': text.length, ...headers })
    .end(text);
}

/** Without parameters, lower case. */
export function contentTypeOf(request: IncomingMessage): string | undefined {
  return request.headers['content-type']?.replace(/;.*/, '').trim().toLowerCase();
}

export async function textOf(request: IncomingMessage): Promise<string> {
  return (await buffer(request)).toString();
}

/** User name and password of `Authorization: Basic` (RFC 7617). */
export function basicOf(request: IncomingMessage): { username: string; password: string } | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2})$/i.exec(request.headers.authorization ?? '')?.[1];
  const pair = encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString();
  const colon = pair?.indexOf(':') ?? -1;
  return pair === undefined || colon === -1
    ? undefined
    : { username: pair.slice(0, colon), password: pair.slice(colon + 1) };
}

/** The token of `Authorization: Bearer` (RFC 6750). */
export function bearerOf(request: IncomingMessage): string | undefined {
  return /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
}

/** As vendors print a key in their errors: its ends only. */
export function shortened(key: string): string {
  return key.length < 12 ? key : `${key.slice(0, 7)}${'*'.repeat(Math.min(8, key.length - 11))}${key.slice(-4)}`;
}
