import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { createServer as createTlsServer, type TLSSocket, connect as tlsConnect } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { Grant } from '../../api/grant.ts';
import { placeholderOf } from '../../api/placeholder.ts';
import type { LeaseRequest, UsageRecord, UsageReport } from '../../api/protocol.ts';
import { systemClock } from '../../lib/clock.ts';
import { Material } from '../../lib/material.ts';
import { type Bounds, defaultBounds } from '../config.ts';
import type { SidecarDeps } from '../deps.ts';
import type { IssuedLease } from '../grants/lease.ts';
import { LiveGrants } from '../grants/liveGrants.ts';
import { Metrics } from '../record/metrics.ts';
import { UsageLog } from '../record/usage.ts';
import { createTestCa, createUpstreams, listen } from '../upstream/testkit.ts';
import { InterceptCa } from './interceptCa.ts';
import { ProxyListener } from './proxyListener.ts';

export const MATERIAL = 'sk-live-0123456789abcdef';
export const CREDENTIAL = 'default/key';
export const INTEGRATION = 'default/api';
export const PLACEHOLDER = placeholderOf({ key: CREDENTIAL, hosts: ['api.test'] });
export const testCa = createTestCa('Upstream CA');

/** Bearer for `hosts`, on this machine, over plain http as well. */
export function grantFor(hosts: string[], changes: Partial<Grant> = {}): Grant {
  return {
    integration: INTEGRATION,
    createdAt: '2026-01-01T00:00:00Z',
    credential: CREDENTIAL,
    hosts,
    inject: [{ bearer: {} }],
    rules: [],
    limits: [],
    placeholder: PLACEHOLDER,
    allowedNetworks: ['127.0.0.0/8', '::1'],
    allowPlaintext: true,
    ...changes,
  };
}

/** The store as its link would be: hands out `material`, of the version that a test says. */
export class TestStore {
  material = MATERIAL;
  version = 1;
  leaseSeconds = 900;
  readonly requests: LeaseRequest[] = [];
  readonly used: UsageRecord[] = [];
  /** Uses that were put on record before they happened. */
  readonly intended: UsageRecord[] = [];
  /** Called before a report counts as durable. */
  onReport: (report: UsageReport) => Promise<void> = async () => {};
  /** What a refresh after a 401 leads to. */
  onRefused: (() => void) | undefined;
  #serial = 0;

  async lease(request: LeaseRequest): Promise<IssuedLease> {
    this.requests.push(request);
    if (request.refusedVersion !== undefined) this.onRefused?.();
    return {
      id: `lease-${++this.#serial}`,
      version: this.version,
      expiresInSeconds: this.leaseSeconds,
      material: new Material().set('value', Buffer.from(this.material)),
    };
  }

  async report(report: UsageReport): Promise<void> {
    await this.onReport(report);
    (report.strict ? this.intended : this.used).push(...report.records);
  }
}

export interface Proxy {
  port: number;
  deps: SidecarDeps;
  store: TestStore;
  listener: ProxyListener;
  /** What was logged as warning or error. */
  log: string[];
  /** What the store has been told so far. */
  used(): Promise<UsageRecord[]>;
}

/** A sidecar's data path on a free port, all of it real but for the store. */
export async function startProxy(
  options: {
    grants?: Grant[];
    egress?: 'Open' | 'Closed';
    limits?: Partial<Bounds>;
    connectionLimit?: number;
    ready?: boolean;
    /** Longest that requests wait for the first grants. */
    waitMs?: number;
  } = {},
): Promise<Proxy> {
  const store = new TestStore();
  const log: string[] = [];
  const note = (fields: object, message: string) => {
    log.push(`${message} ${JSON.stringify(fields)}`);
  };
  const logger = { debug() {}, info() {}, warn: note, error: note };
  const clock = systemClock;
  const metrics = new Metrics();
  const usage = new UsageLog({ clock, log: logger, metrics, sink: store });
  const grants = new LiveGrants({ clock, log: logger, source: store, waitMs: options.waitMs ?? 0 });
  const list = options.grants ?? [];
  const versions = Object.fromEntries(list.map(({ credential }) => [credential, store.version]));
  if (options.ready !== false) grants.apply({ type: 'snapshot', grants: list, versions });
  const ownPorts = new Set<number>();
  const { connectionLimit } = options;
  const deps: SidecarDeps = {
    clock,
    log: logger,
    grants,
    upstreams: createUpstreams({
      rootsPem: testCa.pem,
      ownPorts,
      ...(connectionLimit === undefined ? {} : { connectionLimit }),
    }),
    usage,
    metrics,
    ca: new InterceptCa({ clock }),
    egress: options.egress ?? 'Open',
    ownPorts,
    limits: { ...defaultBounds, ...options.limits },
  };
  const listener = new ProxyListener(deps);
  const port = await listener.listen(0, '127.0.0.1');
  onTestFinished(async () => {
    await listener.drain(0);
    grants.end('the test is over');
    await usage.flush();
  });
  const used = async () => {
    await usage.flush();
    return store.used;
  };
  return { port, deps, store, listener, log, used };
}

/** A peer that is as plain as can be: what it sends is what a test says, and what came is kept. */
export class Peer {
  readonly socket: Socket;
  received = '';
  /** How it ended, once it has: by FIN, or with an error. */
  end: 'fin' | 'reset' | undefined;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.received += chunk.toString('latin1');
      this.#wake();
    });
    socket.on('end', () => {
      this.end ??= 'fin';
      this.#wake();
    });
    socket.on('error', () => {
      this.end = 'reset';
      this.#wake();
    });
    socket.on('close', () => {
      this.end ??= 'fin';
      this.#wake();
    });
    onTestFinished(() => {
      socket.destroy();
    });
  }

  send(text: string | Buffer): this {
    this.socket.write(text);
    return this;
  }

  /** Goes without a goodbye. */
  reset(): void {
    if ('encrypted' in this.socket) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  /** What came up to the end of the first `mark`, which is then taken. @throws Error if the end comes first */
  async until(mark: string): Promise<string> {
    for (;;) {
      const at = this.received.indexOf(mark);
      if (at !== -1) return this.take(at + mark.length);
      if (this.end !== undefined)
        throw new Error(`${this.end} before ${JSON.stringify(mark)}: ${JSON.stringify(this.received)}`);
      await this.#change();
    }
  }

  /** One answer that has a Content-Length, or no body. */
  async answer(headOnly = false): Promise<{ head: string; body: string }> {
    const head = await this.until('\r\n\r\n');
    const length = headOnly ? 0 : Number(/\r\ncontent-length: ([0-9]+)/i.exec(head)?.[1] ?? 0);
    while (this.received.length < length && this.end === undefined) await this.#change();
    return { head, body: this.take(length) };
  }

  take(length: number): string {
    const taken = this.received.slice(0, length);
    this.received = this.received.slice(length);
    return taken;
  }

  /** Everything up to the end. */
  async rest(): Promise<string> {
    while (this.end === undefined) await this.#change();
    return this.received;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

export async function dial(port: number): Promise<Peer> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  await once(socket, 'connect');
  return new Peer(socket);
}

/** Through the proxy by CONNECT. */
export async function tunnel(proxy: Proxy, authority: string): Promise<Peer> {
  const peer = await dial(proxy.port);
  peer.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  await peer.until('HTTP/1.1 200 Connection Established\r\n\r\n');
  return peer;
}

/** The port that connections to the captured port would be redirected to. */
export function captured(proxy: Proxy, port: number): Promise<number> {
  return proxy.listener.listenCaptured(0, '127.0.0.1', port);
}

/** TLS inside a tunnel. @throws what the handshake fails with */
export async function secure(
  peer: Peer,
  options: { ca: string; servername?: string; ALPNProtocols?: string[] },
): Promise<Peer> {
  peer.socket.removeAllListeners('data');
  const socket: TLSSocket = tlsConnect({ socket: peer.socket, ...options });
  await once(socket, 'secureConnect');
  return new Peer(socket);
}

export interface Upstream {
  port: number;
  /** Connections so far, in order. */
  peers: Peer[];
  /** The next connection. */
  next(): Promise<Peer>;
  /** Takes no more connections. */
  close(): void;
}

/** An upstream at `api.test` that does what a test says. */
export async function startUpstream(serve: (peer: Peer) => void = () => {}, tls = false): Promise<Upstream> {
  const peers: Peer[] = [];
  const waiting: ((peer: Peer) => void)[] = [];
  let given = 0;
  const accept = (socket: Socket) => {
    const peer = new Peer(socket);
    peers.push(peer);
    serve(peer);
    waiting.shift()?.(peers[given++]!);
  };
  const options = { ...testCa.issue(), allowHalfOpen: true, noDelay: true };
  const server = tls ? createTlsServer(options, accept) : createServer(options, accept);
  const port = await listen(server);
  const next = (): Promise<Peer> => {
    const peer = peers[given];
    if (peer !== undefined) {
      given++;
      return Promise.resolve(peer);
    }
    return new Promise((resolve) => waiting.push(resolve));
  };
  return { port, peers, next, close: () => server.close() };
}

/** Answers each request that has no body with 200 and the request's head. */
export function echoHeads(peer: Peer): void {
  void (async () => {
    try {
      for (;;) {
        const head = await peer.until('\r\n\r\n');
        peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`);
      }
    } catch {
      // The connection is over.
    }
  })();
}
