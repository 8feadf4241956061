import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { HeadBuffer } from '../http1/headBuffer.ts';
import { parseRequestHead } from '../http1/requestHead.ts';

const HEAD_LIMIT_BYTES = 8 * 1024;
const TIMEOUT_MS = 5_000;
const CONNECTION_LIMIT = 64;
const STATUS_TEXT = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  503: 'Service Unavailable',
} as const;

export interface HealthOptions {
  /** Why requests are not served now; undefined if they are. */
  unready: () => string | undefined;
  metrics: () => string;
}

interface HealthAnswer {
  status: keyof typeof STATUS_TEXT;
  type: 'application/json' | 'text/plain; version=0.0.4; charset=utf-8';
  body: string;
}

/** Answers probes and scrapers on a port of its own: `/healthz`, `/readyz`, `/metrics`, one GET a connection. node:http would cost 10 MB. */
export class HealthServer {
  readonly #options: HealthOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(options: HealthOptions) {
    this.#options = options;
    this.#server = createServer({ noDelay: true }, (socket) => this.#serve(socket));
    this.#server.maxConnections = CONNECTION_LIMIT;
  }

  /** Returns the port. @throws the system's error, such as EADDRINUSE */
  async listen(port: number, host: string): Promise<number> {
    this.#server.listen(port, host);
    await once(this.#server, 'listening');
    // Such as a connection that cannot be accepted now: the next one may.
    this.#server.on('error', () => {});
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    const late = setTimeout(() => socket.destroy(), TIMEOUT_MS);
    const head = new HeadBuffer(HEAD_LIMIT_BYTES);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      clearTimeout(late);
      this.#sockets.delete(socket);
    });
    socket.on('data', (chunk: Buffer) => {
      let answer: HealthAnswer | undefined;
      try {
        if (head.push(chunk)) answer = this.#answer(head);
      } catch {
        answer = json(400, { error: 'malformed request' });
      }
      if (answer === undefined) return;
      socket.removeAllListeners('data').resume();
      socket.end(encode(answer));
    });
  }

  #answer(head: HeadBuffer): HealthAnswer {
    const { method, target } = parseRequestHead(head.bytes, head.headStart, head.headEnd);
    if (method !== 'GET') return json(405, { error: 'only GET is answered here' });
    switch (target) {
      case '/healthz':
        return json(200, { alive: true });
      case '/readyz': {
        const reason = this.#options.unready();
        return reason === undefined ? json(200, { ready: true }) : json(503, { ready: false, reason });
      }
      case '/metrics':
        return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: this.#options.metrics() };
      default:
        return json(404, { error: 'there are /healthz, /readyz and /metrics' });
    }
  }
}

function json(status: HealthAnswer['status'], value: object): HealthAnswer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}

function encode({ status, type, body }: HealthAnswer): string {
  return `HTTP/1.1 ${status} ${STATUS_TEXT[status]}\r\ncontent-type: ${type}\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`;
}
