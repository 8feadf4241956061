import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** What is held of one connection; `answers` is undefined until that connection has said `text`. */
interface Hold {
  text: string;
  held: () => void;
  answers: { client: Socket; bytes: Buffer }[] | undefined;
}

/** A line to the server that a test can cut. */
export class TcpProxy {
  wasDeaf = false;
  /** How late answers arrive. */
  delayMs = 0;
  readonly port: number;
  readonly #server;
  #to: number;
  readonly #first: number;
  readonly #sockets = new Set<Socket>();
  readonly #pairs = new Set<{ isFrozen: boolean }>();
  #isCut = false;
  #deafAt: string | undefined;
  #hold: Hold | undefined;

  private constructor(to: number, server: ReturnType<typeof createServer>) {
    this.#to = to;
    this.#first = to;
    this.#server = server;
    this.port = (server.address() as { port: number }).port;
    server.on('connection', (client) => this.#connected(client));
  }

  static async start(to: number): Promise<TcpProxy> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new TcpProxy(to, server);
  }

  url(url: string): string {
    return url.replace(`:${this.#first}/`, `:${this.port}/`);
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  /** New connections go to that port from now on, as with an address that moves. */
  repoint(to: number): void {
    this.#to = to;
  }

  get isRepointed(): boolean {
    return this.#to !== this.#first;
  }

  /** Connections that are open stay so and carry nothing any more, as to a machine that is gone. */
  freeze(): void {
    for (const pair of this.#pairs) pair.isFrozen = true;
  }

  /** The next connection that says this gets no answer to it, and is cut a moment later. */
  deafAt(text: string): void {
    this.#deafAt = text;
  }

  /** Holds the answers to the next connection that says this; resolves once they are held. They come with `release`. */
  holdAt(text: string): Promise<void> {
    return new Promise((held) => {
      this.#hold = { text, held, answers: undefined };
    });
  }

  release(): void {
    const { answers } = this.#hold ?? {};
    this.#hold = undefined;
    for (const { client, bytes } of answers ?? []) client.write(bytes);
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  #connected(client: Socket): void {
    const server = connect(this.#to, '127.0.0.1');
    const pair = { isFrozen: false };
    this.#pairs.add(pair);
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket
        .on('error', () => {})
        .on('close', () => {
          this.#sockets.delete(socket);
          if (socket === server && pair.isFrozen) return;
          this.#pairs.delete(pair);
          client.destroy();
          server.destroy();
        });
    }
    if (this.#isCut) client.destroy();
    let deaf = false;
    let hold: Hold | undefined;
    client.on('data', (bytes) => {
      if (pair.isFrozen) return;
      if (this.#deafAt !== undefined && bytes.includes(this.#deafAt)) {
        this.#deafAt = undefined;
        deaf = true;
        this.wasDeaf = true;
        setTimeout(() => client.destroy(), 300);
      }
      if (this.#hold !== undefined && this.#hold.answers === undefined && bytes.includes(this.#hold.text)) {
        hold = this.#hold;
        hold.answers = [];
        hold.held();
      }
      server.write(bytes);
    });
    server.on('data', (bytes: Buffer) => {
      if (deaf || pair.isFrozen) return;
      if (hold !== undefined && hold === this.#hold) {
        hold.answers!.push({ client, bytes });
        return;
      }
      if (this.delayMs === 0) client.write(bytes);
      else setTimeout(() => client.write(bytes), this.delayMs);
    });
  }
}
