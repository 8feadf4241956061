import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { authorityText } from '../decide/authority.ts';
import type { Door } from '../decide/door.ts';
import { refuse } from '../errors.ts';
import { logFault } from '../exchange/fault.ts';
import { NO_SEAT } from '../roster.ts';
import { ClientConnection } from './clientConnection.ts';
import { TLS_HANDSHAKE } from './clientHello.ts';
import type { ListenContext, Member } from './context.ts';
import type { Manners, Opened } from './opened.ts';

const HTTP_1_1 = 'http/1.1';

/**
 * A tunnel to a host of an Integration, from the 200 to the first request: TLS is terminated with a certificate for the very
 * host of CONNECT or SNI, plain HTTP is taken as it is. Whether a credential goes along is decided afresh for each request.
 */
export class Interception implements Opened, Member {
  seat = NO_SEAT;
  readonly #context: ListenContext;
  readonly #host: string;
  readonly #port: number;
  readonly #manners: Manners;
  readonly #startedMs: number;
  #socket!: Socket;
  #secure: TLSSocket | undefined;
  #over = false;

  constructor(context: ListenContext, host: string, port: number, manners: Manners) {
    this.#context = context;
    this.#host = host;
    this.#port = port;
    this.#manners = manners;
    this.#startedMs = context.nowMs;
  }

  take(socket: Socket, rest: Buffer | undefined, ended: boolean): void {
    this.#socket = socket;
    this.#context.add(this);
    this.#context.handshakes++;
    socket.on('close', this.#finish).on('end', this.#ended);
    if (this.#manners.established !== '') socket.write(this.#manners.established);
    if (rest !== undefined) this.#first(rest);
    else if (ended) this.destroy();
    else {
      socket.once('data', this.#first);
      if (socket.isPaused()) socket.resume();
    }
  }

  sweep(nowMs: number): void {
    if (nowMs - this.#startedMs > this.#context.deps.limits.headTimeoutMs) this.destroy();
  }

  drain(): void {
    this.destroy();
  }

  destroy(): void {
    this.#finish();
    this.#secure?.destroy();
    this.#socket.destroy();
  }

  /** The first bytes say what is spoken. */
  readonly #first = (chunk: Buffer): void => {
    const socket = this.#socket;
    try {
      if (chunk[0] !== TLS_HANDSHAKE) {
        this.#serve(socket, 'http', '').receive(chunk);
        return;
      }
      socket.pause();
      socket.unshift(chunk);
      this.#terminate(socket);
    } catch (error) {
      logFault(this.#context.deps.log, error);
      this.destroy();
    }
  };

  #terminate(socket: Socket): void {
    const secure = new TLSSocket(socket, {
      isServer: true,
      secureContext: this.#context.deps.ca.context(this.#host),
      ALPNCallback: this.#chooseProtocol,
    });
    this.#secure = secure;
    this.#context.reads.adoptSecure(secure);
    // The socket below closes with it; errors of both only say that.
    secure.on('error', () => {});
    secure.once('close', () => socket.destroy());
    secure.once('end', this.#ended);
    secure.once('secure', () => {
      secure.off('end', this.#ended);
      try {
        this.#serve(secure, 'https', secure.servername);
      } catch (error) {
        logFault(this.#context.deps.log, error);
        this.destroy();
      }
    });
  }

  /** Undefined sends the alert no_application_protocol (RFC 7301 section 3.2): better than answering HTTP/2 with HTTP/1.1. */
  readonly #chooseProtocol = ({ protocols }: { protocols: string[] }): string | undefined => {
    if (protocols.includes(HTTP_1_1)) return HTTP_1_1;
    const { log, usage } = this.#context.deps;
    log.warn(
      { host: this.#host, protocols: protocols.slice(0, 8) },
      'an agent speaks no HTTP/1.1, which is all that is intercepted',
    );
    usage.record({
      authority: authorityText({ host: this.#host, port: this.#port }),
      method: 'CONNECT',
      path: '',
      status: 0,
      refusal: 'Http2NotSupported',
      bytesUp: 0,
      bytesDown: 0,
      durationMs: 0,
    });
    return undefined;
  };

  #serve(socket: Socket, scheme: 'http' | 'https', servername: string | false | null): ClientConnection {
    this.#finish();
    this.#socket.off('close', this.#finish).off('end', this.#ended);
    const door: Door = { kind: 'tunnel', authority: { scheme, host: this.#host, port: this.#port } };
    const verdict =
      !servername || servername.toLowerCase() === this.#host
        ? undefined
        : refuse('AuthorityMismatch', 'The TLS handshake (SNI) names another host than CONNECT.');
    return new ClientConnection(this.#context, socket, door, verdict);
  }

  /** A FIN before the first request: nobody waits for anything. */
  readonly #ended = (): void => this.destroy();

  readonly #finish = (): void => {
    if (this.#over) return;
    this.#over = true;
    this.#context.handshakes--;
    this.#context.remove(this);
  };
}
