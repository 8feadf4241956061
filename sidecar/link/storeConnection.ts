import type { TcpNetConnectOpts } from 'node:net';
import { type ConnectionOptions, type SecureContext, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { STORE_DNS_NAME } from '../../api/protocol.ts';
import { BodyDecoder } from '../http1/body.ts';
import { HeadBuffer } from '../http1/headBuffer.ts';
import type { ResponseHead } from '../http1/message.ts';
import { parseResponseHead } from '../http1/responseHead.ts';
import type { StoreAddress } from './storeAddress.ts';

const HEAD_LIMIT_BYTES = 16 * 1024;
/** One TLS record (RFC 8446 section 5.1). */
const READ_BYTES = 16 * 1024;
/** Shorter than the store keeps an idle connection, so that none is used just as the store closes it. */
const IDLE_MS = 30_000;
const KEEP_ALIVE_MS = 10_000;

export interface StoreRequest {
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  /** Sent as JSON. */
  json?: unknown;
}

/** What becomes of one request: `head`, pieces, then `end`; or `failed` at any point before `end`. */
export interface AnswerSink {
  head(head: ResponseHead): void;
  /** The piece is overwritten as soon as this returns. */
  piece(piece: Buffer): void;
  end(): void;
  failed(error: Error): void;
}

/**
 * One TLS connection to the store, one request at a time, on our own codec: node:https would cost 4 MB, undici 15, and both leave
 * copies of what they read behind. Here every buffer that an answer passes through is overwritten.
 */
export class StoreConnection {
  readonly address: StoreAddress;
  readonly #host: string;
  readonly #socket: TLSSocket;
  readonly #head = new HeadBuffer(HEAD_LIMIT_BYTES);
  #exchange: { method: string; sink: AnswerSink; decoder: BodyDecoder | undefined; keepAlive: boolean } | undefined;
  #error: Error | undefined;

  constructor(address: StoreAddress, context: SecureContext, closed: () => void) {
    this.address = address;
    this.#host = address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const options: ConnectionOptions & TcpNetConnectOpts = {
      host: address.host,
      port: address.port,
      secureContext: context,
      servername: STORE_DNS_NAME,
      rejectUnauthorized: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      onread: { buffer, callback: (bytes) => this.#read(buffer.subarray(0, bytes)) },
    };
    this.#socket = tlsConnect(options);
    this.#socket.on('error', (error) => {
      this.#error = error;
    });
    this.#socket.on('end', () => this.#ended());
    this.#socket.on('timeout', () => this.#socket.destroy());
    this.#socket.on('close', () => {
      this.#head.bytes.fill(0);
      this.#head.reset();
      const exchange = this.#exchange;
      this.#exchange = undefined;
      closed();
      exchange?.sink.failed(this.#error ?? new Error('the store closed the connection'));
    });
  }

  get free(): boolean {
    return this.#exchange === undefined && !this.#socket.destroyed;
  }

  /** Only on a free connection. */
  exchange(request: StoreRequest, sink: AnswerSink): void {
    const { method, path, json } = request;
    this.#exchange = { method, sink, decoder: undefined, keepAlive: false };
    this.#socket.setTimeout(0);
    const body = json === undefined ? '' : JSON.stringify(json);
    const lines = [`${method} ${path} HTTP/1.1`, `host: ${this.#host}`];
    if (json !== undefined) lines.push('content-type: application/json', `content-length: ${Buffer.byteLength(body)}`);
    this.#socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`);
  }

  /** A request that is under way fails with `error`. */
  destroy(error?: Error): void {
    this.#error ??= error;
    this.#socket.destroy();
  }

  /** `chunk` is read into again afterwards, so what is kept of it is copied. */
  #read(chunk: Buffer): boolean {
    try {
      this.#take(chunk);
    } catch (error) {
      this.destroy(error as Error);
    }
    chunk.fill(0);
    return true;
  }

  #take(chunk: Buffer): void {
    const exchange = this.#exchange;
    if (exchange === undefined) throw new Error('the store spoke unasked');
    if (exchange.decoder !== undefined) {
      this.#body(exchange.decoder, chunk, 0);
      return;
    }
    if (!this.#head.push(chunk)) return;
    const { bytes, headEnd } = this.#head;
    const head = parseResponseHead(bytes, headEnd, exchange.method);
    if (head.status < 200) throw new Error(`the store answered ${head.status}`);
    exchange.keepAlive = head.keepAlive;
    exchange.decoder = new BodyDecoder(head.framing);
    exchange.sink.head(head);
    this.#body(exchange.decoder, bytes, headEnd);
    bytes.fill(0);
    this.#head.reset();
  }

  #body(decoder: BodyDecoder, bytes: Buffer, from: number): void {
    const exchange = this.#exchange;
    const end = decoder.done ? from : decoder.decode(bytes, from, (piece) => exchange?.sink.piece(piece));
    if (!decoder.done) return;
    if (end < bytes.length) throw new Error('the store sent more than one answer');
    this.#finish();
  }

  #ended(): void {
    try {
      if (this.#exchange?.decoder !== undefined) {
        this.#exchange.decoder.end();
        this.#finish();
      }
    } catch (error) {
      this.#error ??= error as Error;
    }
    this.#socket.destroy();
  }

  #finish(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (exchange?.keepAlive) this.#socket.setTimeout(IDLE_MS);
    else this.#socket.destroy();
    exchange?.sink.end();
  }
}
