import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { TLSSocket, type TlsOptions } from 'node:tls';

/** For what was written to have left before the connection is reset, which would take it along. */
const LEAVE_MS = 30;

/** One connection to a faulty upstream, as a script has it. */
export class Wire {
  readonly #raw: Socket;
  readonly #secure: Socket;

  constructor(raw: Socket, secure: Socket) {
    this.#raw = raw;
    this.#secure = secure;
  }

  send(bytes: string | Buffer): this {
    this.#secure.write(bytes);
    return this;
  }

  /** FIN, behind what was sent. */
  end(): void {
    this.#secure.end();
  }

  /** RST, once what was sent has left. */
  async reset(): Promise<void> {
    await sleep(LEAVE_MS);
    this.#raw.resetAndDestroy();
  }

  /** What comes in addition, once the first part has left and been read. */
  async later(bytes: string | Buffer): Promise<this> {
    await sleep(LEAVE_MS);
    return this.send(bytes);
  }
}

/** What an upstream does instead of what it should. */
export interface Script {
  /** Plain TCP, or TLS that differs from what a good upstream has. */
  readonly tls?: 'none' | TlsOptions;
  /** As the TCP connection comes in. */
  readonly accept?: (wire: Wire) => void;
  /** As a request's head has come; `nth` counts the requests to this upstream from 1. */
  readonly answer?: (wire: Wire, request: string, nth: number) => unknown;
}

/** An upstream on this machine that follows a script, and keeps what it was sent. */
export class FaultyUpstream {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** All that came, decrypted. */
  received = '';
  connections = 0;
  #requests = 0;

  private constructor(script: Script, good: TlsOptions) {
    this.#server = createServer({ noDelay: true }, (raw) => {
      this.connections++;
      this.#own(raw);
      const tls = script.tls === 'none' ? undefined : { ALPNProtocols: ['http/1.1'], ...good, ...script.tls };
      const secure = tls === undefined ? raw : this.#own(new TLSSocket(raw, { isServer: true, ...tls }));
      const wire = new Wire(raw, secure);
      script.accept?.(wire);
      let head = '';
      secure.on('data', (chunk: Buffer) => {
        const text = chunk.toString('latin1');
        this.received += text;
        head += text;
        for (let end = head.indexOf('\r\n\r\n'); end !== -1; end = head.indexOf('\r\n\r\n')) {
          const request = head.slice(0, end + 4);
          head = head.slice(end + 4);
          script.answer?.(wire, request, ++this.#requests);
        }
      });
    });
  }

  static async start(script: Script, good: TlsOptions): Promise<FaultyUpstream> {
    const upstream = new FaultyUpstream(script, good);
    await once(upstream.#server.listen(0, '127.0.0.1'), 'listening');
    return upstream;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #own<S extends Socket>(socket: S): S {
    this.#sockets.add(socket);
    socket.on('error', () => {}).on('close', () => this.#sockets.delete(socket));
    return socket;
  }
}
