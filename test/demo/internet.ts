import { once } from 'node:events';
import { type AddressInfo, createServer, connect as netConnect, type Server, type Socket } from 'node:net';

const HEAD_LIMIT_BYTES = 4096;

/**
 * The internet as the demo has it: a proxy that takes CONNECT and leads well-known names to look-alikes on this machine.
 *
 * The sidecar is told of it by `HTTPS_PROXY`, as in a company's network, so agents use the real names and nothing is faked for them.
 */
export class Internet {
  readonly #ports: ReadonlyMap<string, number>;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  /** `ports`: host name → port of its look-alike on 127.0.0.1. */
  constructor(ports: ReadonlyMap<string, number>) {
    this.#ports = ports;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  async start(): Promise<string> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #serve(socket: Socket): void {
    this.#own(socket);
    let head = '';
    const read = (chunk: Buffer): void => {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) {
        if (head.length > HEAD_LIMIT_BYTES) socket.destroy();
        return;
      }
      socket.off('data', read).pause();
      const name = /^CONNECT ([^ :]+):443 HTTP\/1\.1\r\n/.exec(head)?.[1];
      const port = name === undefined ? undefined : this.#ports.get(name);
      if (port === undefined) socket.end('HTTP/1.1 502 No Such Host\r\ncontent-length: 0\r\n\r\n');
      else this.#join(socket, port);
    };
    socket.on('data', read);
  }

  #join(socket: Socket, port: number): void {
    const upstream = netConnect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      socket.pipe(upstream).pipe(socket);
    });
    this.#own(upstream);
    upstream.on('close', () => socket.destroy());
    socket.on('close', () => upstream.destroy());
  }

  #own(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
