import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { errorCode } from '../../lib/errors.ts';
import { portInUse } from '../../lib/portOwner.ts';
import { storeError } from '../errors.ts';
import type { Health } from './health.ts';
import type { StoreMetrics } from './storeMetrics.ts';

const CONNECTION_LIMIT = 64;
const TIMEOUT_MS = 10_000;
const HEAD_LIMIT_BYTES = 8 * 1024;

/** Answers probes and scrapers in plain HTTP, on a port of its own: `/healthz`, `/readyz`, `/metrics`. Nothing there is secret. */
export class MetricsServer {
  readonly #server: Server;

  constructor(options: { health: Health; metrics: StoreMetrics }) {
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
      const why = `The store cannot serve metrics on ${host}: ${portInUse(port)}. Stop that or choose another port.`;
      throw storeError('PortInUse', why);
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
  { health, metrics }: { health: Health; metrics: StoreMetrics },
): Promise<void> {
  if (method !== 'GET') return json(response, 405, { error: 'only GET is answered here' });
  switch (url) {
    case '/healthz':
      return json(response, 200, { alive: true });
    case '/readyz': {
      const status = await health.look();
      return json(response, status.ready ? 200 : 503, status);
    }
    case '/metrics': {
      await health.look();
      const body = await metrics.registry.metrics();
      response.writeHead(200, { 'content-type': metrics.registry.contentType }).end(body);
      return;
    }
    default:
      return json(response, 404, { error: 'there are /healthz, /readyz and /metrics' });
  }
}

function json(response: ServerResponse, status: number, value: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(value)}\n`);
}
