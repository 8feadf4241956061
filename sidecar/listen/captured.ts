import { isIP, type Socket } from 'node:net';
import { authorityText, parseHostPort } from '../decide/authority.ts';
import { type Refusal, refuse } from '../errors.ts';
import { logFault } from '../exchange/fault.ts';
import { CR, TOKEN } from '../http1/octets.ts';
import { NO_SEAT } from '../roster.ts';
import { ClientConnection } from './clientConnection.ts';
import { ClientHelloReader, TLS_HANDSHAKE } from './clientHello.ts';
import type { ListenContext, Member } from './context.ts';
import { Lingering } from './lingering.ts';
import { CAPTURED } from './opened.ts';
import { openTunnel } from './openTunnel.ts';

/**
 * A connection that was redirected here, from its first byte until it is known where it leads: to the host of SNI, or to that of Host.
 *
 * Which address it was made to nobody tells (docs/adr/0027), and it is not asked for: the host is resolved anew. One that names no host
 * is closed.
 */
export class Captured implements Member {
  seat = NO_SEAT;
  readonly #context: ListenContext;
  readonly #socket: Socket;
  readonly #port: number;
  readonly #sinceMs: number;
  #reader: ClientHelloReader | undefined;
  /** Calls off the wait for grants. */
  #cancel: (() => void) | undefined;
  #waiting = false;
  #ended = false;

  constructor(context: ListenContext, socket: Socket, port: number) {
    this.#context = context;
    this.#socket = socket;
    this.#port = port;
    this.#sinceMs = context.nowMs;
    context.add(this);
    socket.on('data', this.#data).on('end', this.#end).on('error', ignore).on('close', this.#closed);
  }

  sweep(nowMs: number): void {
    const { headTimeoutMs } = this.#context.deps.limits;
    if (this.#waiting || nowMs - this.#sinceMs <= headTimeoutMs) return;
    const what =
      this.#reader === undefined ? 'The client waits for the server to speak first' : 'The ClientHello did not come';
    this.#refuse(refuse('NoAuthority', `${what} (${headTimeoutMs / 1000} s).`));
  }

  drain(): void {
    if (!this.#waiting) this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  readonly #data = (chunk: Buffer): void => {
    try {
      this.#take(chunk);
    } catch (error) {
      logFault(this.#context.deps.log, error);
      this.destroy();
    }
  };

  #take(chunk: Buffer): void {
    const first = chunk[0]!;
    if (this.#reader === undefined) {
      if (TOKEN[first] === 1 || first === CR) {
        this.#handOver();
        const { ownPorts } = this.#context.deps;
        new ClientConnection(this.#context, this.#socket, { kind: 'captured', port: this.#port, ownPorts }).receive(
          chunk,
        );
        return;
      }
      if (first !== TLS_HANDSHAKE) {
        this.#refuse(refuse('NoAuthority', 'What the client sends is neither TLS nor HTTP.'));
        return;
      }
      this.#reader = new ClientHelloReader();
    }
    if (this.#waiting) {
      this.#reader.keep(chunk);
      return;
    }
    const progress = this.#reader.push(chunk);
    if (progress.kind === 'malformed')
      this.#refuse(refuse('NoAuthority', `The ClientHello cannot be read: ${progress.why}.`));
    else if (progress.kind === 'hello') this.#named(progress.serverName);
  }

  #named(serverName: string | undefined): void {
    // RFC 6066 section 3: no addresses, and no dot at the end.
    const named = serverName === undefined ? undefined : parseHostPort(serverName, this.#port);
    if (named === undefined || named.host !== serverName || isIP(named.host) !== 0) {
      const how =
        serverName === undefined
          ? 'without a server name (SNI)'
          : 'with a server name (SNI) that is no plain host name';
      this.#refuse(refuse('NoAuthority', `The TLS connection comes ${how}.`));
      return;
    }
    const { grants } = this.#context.deps;
    if (!grants.known) {
      this.#waiting = true;
      this.#socket.pause();
      this.#cancel = grants.wait(() => {
        this.#cancel = undefined;
        try {
          this.#open(named.host);
        } catch (error) {
          logFault(this.#context.deps.log, error);
          this.destroy();
        }
      });
      if (this.#cancel !== undefined) return;
    }
    this.#open(named.host);
  }

  #open(host: string): void {
    const opened = openTunnel(this.#context, host, this.#port, CAPTURED);
    if ('kind' in opened) {
      this.#refuse(opened, host);
      return;
    }
    this.#handOver();
    opened.take(this.#socket, this.#reader!.bytes, this.#ended);
  }

  #refuse(refusal: Refusal, host = ''): void {
    this.#context.refused.note(refusal, { authority: authorityText({ host, port: this.#port }) });
    const socket = this.#socket;
    this.#handOver();
    if (this.#reader !== undefined) socket.write(CAPTURED.refusal(refusal));
    new Lingering(this.#context, socket);
  }

  /** The socket is somebody else's from now on, who watches its errors. */
  #handOver(): void {
    this.#socket.off('data', this.#data).off('end', this.#end).off('close', this.#closed);
    this.#context.remove(this);
  }

  readonly #end = (): void => {
    this.#ended = true;
    // Nothing more can come that names a host.
    if (!this.#waiting) this.destroy();
  };

  readonly #closed = (): void => {
    this.#cancel?.();
    this.#context.remove(this);
  };
}

/** What matters of an error is that the socket closes, which is told in any case. */
function ignore(): void {}
