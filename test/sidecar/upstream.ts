import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createTestCa } from '../../sidecar/upstream/testkit.ts';

/** An API on this machine: `api.localhost` with a certificate of its own CA. */
export class TestUpstream {
  readonly caPem: string;
  /** `host:port`, for records. */
  readonly host: string;
  /** The Authorization field of each request. */
  readonly seen: (string | undefined)[] = [];
  readonly #server: Server;

  private constructor(caPem: string, server: Server) {
    this.caPem = caPem;
    this.#server = server;
    this.host = `api.localhost:${(server.address() as AddressInfo).port}`;
    server.on('request', (request) => this.seen.push(request.headers.authorization));
  }

  static async start(handler: RequestListener): Promise<TestUpstream> {
    const ca = createTestCa('test upstream');
    const { key, cert } = ca.issue({ dnsNames: ['api.localhost'] });
    const server = createServer({ key, cert }, handler);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return new TestUpstream(ca.pem, server);
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
