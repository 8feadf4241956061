import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Registry } from 'prom-client';
import { CodedError, errorCode } from './errors.ts';
import { portInUse } from './portOwner.ts';

const CONNECTION_LIMIT = 64;
const TIMEOUT_MS = 10_000;
const HEAD_LIMIT_BYTES = 8 * 1024;

export interface MetricsServerOptions {
  /** Such as `store`, for what is said to people. */
  part: string;
  /** How it is at this moment; 503 on `/readyz` unless it is ready. */
  look: () => Promise<{ ready: boolean }>;
  registry: Pick<Registry, 'metrics' | 'contentType'>;
}

/** Answers probes and scrapers in plain HTTP, on a port of its own: `/healthz`, `/readyz`, `/metrics`. Nothing there is secret. */
export class MetricsServer {
  readonly #server: Server;
  readonly #part: string;

  constructor(options: MetricsServerOptions) {
    this.#part = options.part;
    this.#server = createServer(
      { maxHeaderSize: HEAD_LIMIT_BYTES, requestTimeout: TIMEOUT_MS },
      (request, response) => {
        answer(request, response, options).catch(() => response.destroy());
      },
    );
    this.#server.maxConnections = CONNECTION_LIMIT;
    this.#server.timeout = TIMEOUT_MS;
  }

  /** Returns the port. @throws PortInUse */
  async listen(port: number, host: string): Promise<number> {
    try {
      await once(this.#server.listen(port, host), 'listening');
    } catch (error) {
      if (errorCode(error) !== 'EADDRINUSE') throw error;
      const why = `The ${this.#part} cannot serve metrics on ${host}: ${portInUse(port)}. Stop that or choose another port.`;
      throw new CodedError('PortInUse', why);
    }
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

async function answer(
  { method, url }: IncomingMessage,
  response: ServerResponse,
  { look, registry }: MetricsServerOptions,
): Promise<void> {
  if (method !== 'GET') return json(response, 405, { error: 'only GET is answered here' });
  switch (url) {
    case '/healthz':
      return json(response, 200, { alive: true });
    case '/readyz': {
      const status = await look();
      return json(response, status.ready ? 200 : 503, status);
    }
    case '/metrics': {
      await look();
      const body = await registry.metrics();
      response.writeHead(200, { 'content-type': registry.contentType }).end(body);
      return;
    }
    default:
      return json(response, 404, { error: 'there are /healthz, /readyz and /metrics' });
  }
}

function json(response: ServerResponse, status: number, value: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(value)}\n`);
}
