import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';

export interface Answer {
  readonly status: number;
  /** As sent. */
  readonly head: string;
  /** Lower-case name to value; of several the last. */
  readonly fields: ReadonlyMap<string, string>;
  /** Without its framing. */
  readonly body: Buffer;
  /** What came after the last chunk, as sent. */
  readonly trailers: string;
}

/** An agent that sends what bytes it likes, and keeps all that it receives. */
export class AgentConnection {
  readonly socket: Socket;
  #received: Buffer[] = [];
  #unread = Buffer.alloc(0);
  #closed = false;
  #wake = Promise.withResolvers<void>();

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      this.#received.push(chunk);
      this.#unread = Buffer.concat([this.#unread, chunk]);
      this.#wake.resolve();
    });
    socket.on('close', () => {
      this.#closed = true;
      this.#wake.resolve();
    });
  }

  static async open(port: number): Promise<AgentConnection> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new AgentConnection(socket);
  }

  /** CONNECT, then TLS. @throws Error with the refusal, or that of the handshake */
  static async tunnel(port: number, authority: string, tls: ConnectionOptions): Promise<AgentConnection> {
    const plain = await AgentConnection.connect(port, authority);
    plain.socket.removeAllListeners('data').removeAllListeners('close');
    const secure: TLSSocket = tlsConnect({ servername: authority.replace(/:\d+$/, ''), ...tls, socket: plain.socket });
    await once(secure, 'secureConnect');
    return new AgentConnection(secure);
  }

  /** CONNECT only. @throws Error with the refusal */
  static async connect(port: number, authority: string): Promise<AgentConnection> {
    const connection = await AgentConnection.open(port);
    connection.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    const { status, head, body } = await connection.answer('CONNECT');
    if (status !== 200) throw new Error(`${head}${body}`);
    return connection;
  }

  /** Bytes, or a text of one character per byte. */
  send(bytes: string | Buffer): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    return this;
  }

  /** All bytes so far. */
  get received(): Buffer {
    return Buffer.concat(this.#received);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The next answer other than 1xx; what is behind it stays unread. @throws Error if the connection closes before its end */
  async answer(method = 'GET'): Promise<Answer> {
    for (;;) {
      const parsed = parseAnswer(this.#unread, method, this.#closed);
      if (parsed !== undefined) {
        this.#unread = this.#unread.subarray(parsed.end);
        if (parsed.answer.status >= 200 || parsed.answer.status === 101) return parsed.answer;
      } else if (this.#closed) throw new Error(`closed after ${JSON.stringify(this.#unread.toString('latin1'))}`);
      else await this.#more();
    }
  }

  /** What comes until `text` has come, with it. */
  async until(text: string): Promise<string> {
    for (;;) {
      const at = this.#unread.indexOf(text, 0, 'latin1');
      if (at !== -1) {
        const found = this.#unread.subarray(0, at + text.length).toString('latin1');
        this.#unread = this.#unread.subarray(at + text.length);
        return found;
      }
      if (this.#closed) throw new Error(`closed before ${text}`);
      await this.#more();
    }
  }

  /** What is unread once the other side has closed. */
  async rest(): Promise<Buffer> {
    while (!this.#closed) await this.#more();
    return this.#unread;
  }

  close(): void {
    this.socket.destroy();
  }

  async #more(): Promise<void> {
    this.#wake = Promise.withResolvers();
    await this.#wake.promise;
  }
}

function parseAnswer(bytes: Buffer, method: string, closed: boolean): { answer: Answer; end: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n') + 4;
  if (headEnd === 3) return undefined;
  const head = bytes.subarray(0, headEnd).toString('latin1');
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]);
  const fields = new Map(
    head
      .split('\r\n')
      .slice(1)
      .map((line) => [line.split(':', 1)[0]!.toLowerCase(), line.slice(line.indexOf(':') + 1).trim()] as const),
  );
  const whole = (body: Buffer, end: number, trailers = '') => ({
    answer: { status, head, fields, body, trailers },
    end,
  });
  const bodiless = method === 'HEAD' || status < 200 || status === 204 || status === 304;
  if (bodiless || (method === 'CONNECT' && status === 200)) return whole(Buffer.alloc(0), headEnd);
  if (fields.get('transfer-encoding') === 'chunked') {
    const body = readChunks(bytes, headEnd);
    return body && whole(body.payload, body.end, body.trailers);
  }
  const length = fields.get('content-length');
  const end = length === undefined ? bytes.length : headEnd + Number(length);
  if (length === undefined ? !closed : bytes.length < end) return undefined;
  return whole(bytes.subarray(headEnd, end), end);
}

/** Undefined until the last chunk has come. */
export function readChunks(
  bytes: Buffer,
  start: number,
): { payload: Buffer; end: number; trailers: string } | undefined {
  const pieces: Buffer[] = [];
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd === -1) return undefined;
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString('latin1'), 16);
    at = lineEnd + 2;
    if (size === 0) {
      const end = bytes.subarray(at, at + 2).equals(Buffer.from('\r\n')) ? at : bytes.indexOf('\r\n\r\n', at) + 2;
      if (end === 1) return undefined;
      const trailers = bytes.subarray(at, end).toString('latin1');
      return bytes.length < end + 2 ? undefined : { payload: Buffer.concat(pieces), end: end + 2, trailers };
    }
    if (!(at + size + 2 <= bytes.length)) return undefined;
    pieces.push(bytes.subarray(at, at + size));
    at += size + 2;
  }
}
