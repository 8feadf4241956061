import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { CodedError, errorCode } from '../../lib/errors.ts';
import { portInUse } from '../../lib/portOwner.ts';
import type { Door } from '../decide/door.ts';
import type { SidecarDeps } from '../deps.ts';
import { REFUSALS, refuse } from '../errors.ts';
import { InFlight } from '../exchange/inFlight.ts';
import { RefusedConnections } from '../record/refusedConnections.ts';
import { Roster } from '../roster.ts';
import { AgentReads } from './agentReads.ts';
import { Captured } from './captured.ts';
import { ClientConnection } from './clientConnection.ts';
import { ClosedPeers } from './closedPeers.ts';
import type { ListenContext, Member } from './context.ts';
import { CAPTURED, type Manners, PROXIED } from './opened.ts';

/** Connections that the kernel keeps for us while we are busy; more than Linux allows by default (net.core.somaxconn). */
const BACKLOG = 4_096;
const SWEEP_MS = 1_000;

/** Where agents connect: a forward proxy and base URLs on one port, and a port for each that is captured. */
export class ProxyListener implements ListenContext {
  readonly deps: SidecarDeps;
  readonly inFlight = new InFlight();
  readonly closedPeers = new ClosedPeers();
  readonly reads = new AgentReads();
  readonly refused: RefusedConnections;
  readonly #servers: Server[] = [];
  readonly #members = new Roster<Member>();
  readonly #door: Door;
  readonly #unlisten: readonly (() => void)[];
  #sweeper: NodeJS.Timeout | undefined;
  #emptied: (() => void) | undefined;
  #draining = false;
  nowMs: number;
  handshakes = 0;

  constructor(deps: SidecarDeps) {
    this.deps = deps;
    this.nowMs = deps.clock.monotonicMs();
    this.#door = { kind: 'proxy', ownPorts: deps.ownPorts };
    this.refused = new RefusedConnections(deps);
    this.#unlisten = [
      deps.grants.onRevoked((integration) => this.inFlight.cut(integration)),
      deps.grants.onChanged((integration) => this.inFlight.recheck(integration)),
    ];
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Listens; port 0 is any free one. Gives the port, which `ownPorts` has from then on. @throws PortInUse */
  listen(port: number, host: string): Promise<number> {
    return this.#listen(port, host, PROXIED, (socket) => new ClientConnection(this, socket, this.#door));
  }

  /** The same for what is redirected here from any address at the captured port. @throws PortInUse */
  listenCaptured(port: number, host: string, capturedPort: number): Promise<number> {
    return this.#listen(port, host, CAPTURED, (socket) => new Captured(this, socket, capturedPort));
  }

  async #listen(port: number, host: string, manners: Manners, serve: (socket: Socket) => Member): Promise<number> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#accept(socket, manners, serve),
    );
    server.listen({ port, host, backlog: BACKLOG });
    try {
      await once(server, 'listening');
    } catch (error) {
      if (errorCode(error) === 'EADDRINUSE') throw new CodedError('PortInUse', portInUse(port));
      throw error;
    }
    server.on('error', (error) => this.deps.log.error({ code: errorCode(error) }, 'the proxy listener failed'));
    this.#servers.push(server);
    const { limits } = this.deps;
    const shortest = Math.min(
      limits.headTimeoutMs,
      limits.idleTimeoutMs,
      limits.bodyTimeoutMs,
      limits.answerTimeoutMs,
      limits.silenceTimeoutMs,
      limits.headTotalMs,
    );
    // Timeouts may be late by a sweep.
    this.#sweeper ??= setInterval(() => this.#sweep(), Math.min(SWEEP_MS, Math.max(10, shortest / 4))).unref();
    const bound = (server.address() as AddressInfo).port;
    this.deps.ownPorts.add(bound);
    return bound;
  }

  /** Takes nothing new, lets what runs finish for `graceMs`, then ends it. */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    for (const server of this.#servers) server.close();
    this.#members.visit((member) => member.drain());
    const emptied = new Promise<void>((resolve) => {
      this.#emptied = resolve;
      if (this.#members.size === 0) resolve();
    });
    const timer = setTimeout(() => {
      this.#members.visit((member) => member.destroy());
    }, graceMs);
    await emptied;
    clearTimeout(timer);
    clearInterval(this.#sweeper);
    for (const unlisten of this.#unlisten) unlisten();
  }

  add(member: Member): void {
    this.#members.add(member);
    this.deps.metrics.clientConnections = this.#members.size;
  }

  remove(member: Member): void {
    if (!this.#members.delete(member)) return;
    this.deps.metrics.clientConnections = this.#members.size;
    if (this.#members.size === 0) this.#emptied?.();
  }

  #accept(socket: Socket, manners: Manners, serve: (socket: Socket) => Member): void {
    if (this.#members.size < this.deps.limits.clientConnectionLimit) {
      serve(this.reads.adopt(socket));
      return;
    }
    const refusal = refuse('Overloaded', `${this.#members.size} connections are open already.`, 1);
    this.refused.note(refusal, { status: manners === PROXIED ? REFUSALS.Overloaded.status : 0 });
    socket.on('error', () => {}).end(manners.refusal(refusal), () => socket.destroy());
  }

  #sweep(): void {
    const nowMs = this.deps.clock.monotonicMs();
    this.nowMs = nowMs;
    this.#members.visit((member) => member.sweep(nowMs));
  }
}
