import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { ControlPlane } from '../cluster/controlPlane.ts';

const ADMIN = { name: 'kubernetes-admin', groups: ['system:masters'] };
/** RFC 6455, 1.3. */
const ACCEPT = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const BINARY = 0x82;
const CLOSE = 0x88;
/** Of v4.channel.k8s.io: the first byte of a message. */
const CHANNELS = { stdout: 1, stderr: 2, status: 3 } as const;

/**
 * In front of an API server that has no nodes: says what that one says to an administrator, and what is executed in any pod runs here
 * instead, as `command`.
 */
export class ExecFront {
  readonly kubeconfigFile: string;
  readonly #server: Server;

  private constructor(server: Server, kubeconfigFile: string) {
    this.#server = server;
    this.kubeconfigFile = kubeconfigFile;
  }

  /** Its kubeconfig is in that directory. */
  static async start(plane: ControlPlane, dir: string, command: readonly [string, ...string[]]): Promise<ExecFront> {
    const { certPem: cert, keyPem: key } = plane.authority.issue('exec-front', ADMIN);
    const login = { ca: plane.authority.caPem, cert, key };
    const server = createServer((asked, response) => forward(plane.url, login, asked, response));
    server.on('upgrade', (asked: IncomingMessage, socket: Duplex) => execute(asked, socket, command));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const file = join(dir, 'exec-front.kubeconfig');
    const cluster = { server: url, 'insecure-skip-tls-verify': true };
    writeFileSync(
      file,
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [{ name: 'front', cluster }],
        users: [{ name: 'front', user: {} }],
        contexts: [{ name: 'front', context: { cluster: 'front', user: 'front' } }],
        'current-context': 'front',
      }),
    );
    return new ExecFront(server, file);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

function forward(url: string, login: object, asked: IncomingMessage, response: ServerResponse): void {
  const { host: _, ...headers } = asked.headers;
  const onward = request(`${url}${asked.url}`, { ...login, method: asked.method, headers }, (answer) => {
    response.writeHead(answer.statusCode!, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  asked.pipe(onward);
}

function execute(asked: IncomingMessage, socket: Duplex, [program, ...args]: readonly [string, ...string[]]): void {
  const accept = createHash('sha1').update(`${asked.headers['sec-websocket-key']}${ACCEPT}`).digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n`,
  );
  const child = spawn(program, args, { stdio: 'pipe' });
  const say = (channel: number, data: Buffer) => socket.write(frame(BINARY, Buffer.concat([Buffer.of(channel), data])));
  child.stdin.on('error', () => {});
  child.stdout.on('data', (data: Buffer) => say(CHANNELS.stdout, data));
  child.stderr.on('data', (data: Buffer) => say(CHANNELS.stderr, data));
  child.on('close', (code, signal) => {
    // As when a node is lost.
    if (signal === 'SIGKILL') socket.destroy();
    if (!socket.writable) return;
    const status = code === 0 ? { status: 'Success' } : { status: 'Failure', message: `exit code ${code}` };
    say(CHANNELS.status, Buffer.from(JSON.stringify(status)));
    socket.end(frame(CLOSE, Buffer.alloc(0)));
  });
  socket.on('error', () => {});
  socket.on('close', () => child.kill());
  let pending: Buffer = Buffer.alloc(0);
  socket.on('data', (data: Buffer) => {
    pending = Buffer.concat([pending, data]);
    for (let message = take(pending); message !== undefined; message = take(pending)) {
      pending = message.rest;
      if (message.first === CLOSE) child.stdin.end();
      else if (message.first === BINARY) child.stdin.write(message.payload.subarray(1));
    }
  });
}

function frame(first: number, payload: Buffer): Buffer {
  const { length } = payload;
  if (length < 126) return Buffer.concat([Buffer.of(first, length), payload]);
  const head = Buffer.of(first, 127, 0, 0, 0, 0, 0, 0, 0, 0);
  head.writeUInt32BE(length, 6);
  return Buffer.concat([head, payload]);
}

/** One masked message off the front (RFC 6455, 5.2); those of a test are short and whole. */
function take(bytes: Buffer): { first: number; payload: Buffer; rest: Buffer } | undefined {
  if (bytes.length < 6) return undefined;
  const short = bytes[1]! & 0x7f;
  if (short === 127) throw new Error('a message of more than 64 KiB');
  const at = short === 126 ? 4 : 2;
  const length = short === 126 ? bytes.readUInt16BE(2) : short;
  const end = at + 4 + length;
  if (bytes.length < end) return undefined;
  const payload = Buffer.from(bytes.subarray(at + 4, end));
  for (let i = 0; i < length; i += 1) payload[i]! ^= bytes[at + (i % 4)]!;
  return { first: bytes[0]!, payload, rest: bytes.subarray(end) };
}
