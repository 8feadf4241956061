import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { KubeClient } from '../client.ts';

type Handler = (request: IncomingMessage & { query: URLSearchParams; body: string }, response: ServerResponse) => void;

/** A real HTTP server that says what an API server may say, one request after the other. */
export class ApiDouble {
  readonly client: KubeClient;
  /** `METHOD path?query` of each request, in order. */
  readonly requests: string[] = [];
  readonly #server: ReturnType<typeof createServer>;

  private constructor(server: ReturnType<typeof createServer>, port: number) {
    this.#server = server;
    this.client = new KubeClient({
      url: `http://127.0.0.1:${port}`,
      headers: async () => ({ authorization: 'Bearer test-token-value' }),
    });
  }

  static async start(handler: Handler): Promise<ApiDouble> {
    const server = createServer(async (request, response) => {
      double.requests.push(`${request.method} ${request.url}`);
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const query = new URL(request.url!, 'http://x').searchParams;
      handler(Object.assign(request, { query, body: Buffer.concat(chunks).toString() }), response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const double = new ApiDouble(server, (server.address() as AddressInfo).port);
    return double;
  }

  async close(): Promise<void> {
    await this.client.close();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export function answer(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}) {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** meta/v1 Status. */
export function refusal(code: number, reason: string, message = '') {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message };
}

export function configMap(name: string, resourceVersion: string, uid = `uid-${name}`) {
  return { metadata: { namespace: 'team', name, resourceVersion, uid } };
}
