import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Reading } from './reader.ts';

/**
 * Stands behind a proxy that is a reader, and notes what the proxy says that it read, by the port of the proxy's client.
 *
 * The proxy says it in fields of a POST that it makes of every request: `x-read-{port,method,target,host}`; the body is the
 * request's, framed anew.
 */
export class Backend {
  readonly port: number;
  readonly #readings: Map<number, Reading[]>;
  readonly #close: () => void;

  private constructor(port: number, readings: Map<number, Reading[]>, close: () => void) {
    this.port = port;
    this.#readings = readings;
    this.#close = close;
  }

  static async start(): Promise<Backend> {
    const readings = new Map<number, Reading[]>();
    const server = createServer({ maxHeaderSize: 128 * 1024 }, (request, response) => {
      const said = (name: string): string => String(request.headers[`x-read-${name}`] ?? '');
      let bodyBytes = 0;
      request.on('error', () => {});
      request.on('data', (chunk: Buffer) => {
        bodyBytes += chunk.length;
      });
      request.on('end', () => {
        const port = Number(said('port'));
        const reading = { method: said('method'), target: said('target'), host: said('host'), bodyBytes };
        readings.set(port, [...(readings.get(port) ?? []), reading]);
        response.end();
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    return new Backend(port, readings, () => {
      server.closeAllConnections();
      server.close();
    });
  }

  /** The readings of one connection, which are then forgotten. */
  take(clientPort: number): readonly Reading[] {
    const taken = this.#readings.get(clientPort) ?? [];
    this.#readings.delete(clientPort);
    return taken;
  }

  stop(): void {
    this.#close();
  }
}
