import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { UpstreamTls } from '../../upstreams/tls.ts';
import { readChunks } from './agentConnection.ts';

/** A request that came in completely. */
export interface Received {
  readonly method: string;
  readonly target: string;
  /** The whole head as sent, one character per byte. */
  readonly head: string;
  /** As sent, in order. */
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
}

/** Writes the answer as bytes; it may leave that to somebody else. */
export type Answerer = (request: Received, socket: Socket) => void;

/** An API on this machine that keeps every byte it receives, and answers with what bytes it likes. */
export class RawUpstream {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #names: readonly string[];
  #bytes: Buffer[] = [];
  /** Requests so far. */
  requests: Received[] = [];
  /** Connections so far. */
  connections = 0;
  answer: Answerer = hello;

  private constructor(names: readonly string[], tls: UpstreamTls | undefined) {
    this.#names = names;
    const serve = (socket: Socket) => this.#serve(socket);
    this.#server =
      tls === undefined ? createServer(serve) : createTlsServer({ ...tls, ALPNProtocols: ['http/1.1'] }, serve);
    this.#server.on('tlsClientError', () => {});
  }

  /** Under names that lead to `address`; plain without `tls`. */
  static async start(
    names: readonly string[],
    tls: UpstreamTls | undefined,
    { address = '127.0.0.1', port = 0 } = {},
  ): Promise<RawUpstream> {
    const upstream = new RawUpstream(names, tls);
    await once(upstream.#server.listen(port, address), 'listening');
    return upstream;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `host:port` under the first of its names, or another. */
  host(name = this.#names[0]!): string {
    return `${name}:${this.port}`;
  }

  get last(): Received {
    return this.requests.at(-1)!;
  }

  /** All bytes so far, decrypted. */
  get bytes(): string {
    return Buffer.concat(this.#bytes).toString('latin1');
  }

  /** The values of a field in the last request, whatever its case. */
  sent(name: string): string[] {
    return this.last.fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
  }

  forget(): void {
    this.requests = [];
    this.#bytes = [];
    this.connections = 0;
    this.answer = hello;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(socket: Socket): void {
    this.connections++;
    this.#sockets.add(socket);
    let unread: Buffer = Buffer.alloc(0);
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    socket.on('data', (chunk: Buffer) => {
      this.#bytes.push(chunk);
      unread = Buffer.concat([unread, chunk]);
      for (let read = readRequest(unread); read !== undefined; read = readRequest(unread)) {
        unread = unread.subarray(read.end);
        this.requests.push(read.request);
        this.answer(read.request, socket);
      }
    });
  }
}

export const hello: Answerer = ({ method }, socket) => {
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n${method === 'HEAD' ? '' : 'hello'}`);
};

/** The requests that bytes are to a reader that takes whatever is put before it. */
export function readRequests(bytes: Buffer): Received[] {
  const requests: Received[] = [];
  for (let at = 0, read = readRequest(bytes); read !== undefined; read = readRequest(bytes.subarray(at))) {
    requests.push(read.request);
    at += read.end;
  }
  return requests;
}

function readRequest(bytes: Buffer): { request: Received; end: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n') + 4;
  if (headEnd === 3) return undefined;
  const head = bytes.subarray(0, headEnd).toString('latin1');
  const [line, ...lines] = head.trimEnd().split('\r\n');
  const [method, target] = line!.split(' ');
  const fields = lines.map((text) => [text.split(':', 1)[0]!, text.slice(text.indexOf(':') + 1).trim()] as const);
  const value = (name: string) => fields.find(([key]) => key.toLowerCase() === name)?.[1];
  const request = (body: Buffer) => ({ method: method!, target: target!, head, fields, body });
  if (value('transfer-encoding') === 'chunked') {
    const body = readChunks(bytes, headEnd);
    return body && { request: request(body.payload), end: body.end };
  }
  const end = headEnd + Number(value('content-length') ?? 0);
  return bytes.length < end ? undefined : { request: request(bytes.subarray(headEnd, end)), end };
}
