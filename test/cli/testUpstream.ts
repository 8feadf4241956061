import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createUpstreamCa } from '../upstreams/tls.ts';

export interface Seen {
  host: string;
  method: string;
  path: string;
  authorization: string | undefined;
}

/**
 * An API on names that no resolver knows, behind a CONNECT proxy as companies have them: what `sidekey run` finds in HTTPS_PROXY.
 */
export class TestUpstream {
  readonly hosts: readonly string[];
  readonly caPem: string;
  /** Every request that arrived, in order. */
  readonly seen: Seen[] = [];
  /** Targets that tunnels were asked for. */
  readonly tunnels: string[] = [];
  readonly #api: Server;
  readonly #proxy: Server;
  readonly #sockets = new Set<Socket>();

  constructor(hosts: readonly string[]) {
    this.hosts = hosts;
    const ca = createUpstreamCa();
    this.caPem = ca.pem;
    this.#api = createTlsServer(ca.issue(hosts), (request, response) => {
      this.#see(request);
      response.setHeader('content-type', contentTypeOf(request.url!));
      response.end(bodyOf(request.url!));
    });
    this.#proxy = createHttpServer((_, response) => response.writeHead(405).end());
    this.#proxy.on('connect', (request: IncomingMessage, socket: Socket) => this.#tunnel(request.url!, socket));
  }

  async start(): Promise<this> {
    for (const server of [this.#api, this.#proxy]) await once(server.listen(0, '127.0.0.1'), 'listening');
    return this;
  }

  get proxyUrl(): string {
    return `http://127.0.0.1:${(this.#proxy.address() as AddressInfo).port}`;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#proxy.close();
    this.#api.close();
  }

  #see(request: IncomingMessage): void {
    const { authorization, host = '' } = request.headers;
    this.seen.push({ host, method: request.method!, path: request.url!, authorization });
  }

  #tunnel(target: string, socket: Socket): void {
    this.tunnels.push(target);
    const upstream = connect((this.#api.address() as AddressInfo).port, '127.0.0.1');
    for (const end of [socket, upstream]) {
      this.#sockets.add(end);
      end.on('error', () => {});
      end.on('close', () => this.#sockets.delete(end));
    }
    upstream.once('connect', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      socket.pipe(upstream).pipe(socket);
    });
  }
}

const GIT = '/info/refs?service=git-upload-pack';

function contentTypeOf(path: string): string {
  return path.endsWith(GIT) ? 'application/x-git-upload-pack-advertisement' : 'text/plain';
}

/** `ok`; to git, a repository without a commit (gitprotocol-http(5), gitprotocol-pack(5)). */
function bodyOf(path: string): string {
  if (!path.endsWith(GIT)) return 'ok';
  const capabilities = `${'0'.repeat(40)} capabilities^{}\0agent=look-alike\n`;
  return `${packet('# service=git-upload-pack\n')}0000${packet(capabilities)}0000`;
}

function packet(line: string): string {
  return (line.length + 4).toString(16).padStart(4, '0') + line;
}
