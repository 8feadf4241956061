import { isIP, type LookupFunction, connect as netConnect, type Socket, type TcpNetConnectOpts } from 'node:net';
import { type ConnectionOptions, type SecureContext, type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { type Refusal, refuse } from '../errors.ts';
import { checkAddresses } from './checkAddresses.ts';
import { connectRefusal, handshakeRefusal } from './failures.ts';
import { identityFault } from './identity.ts';
import { Inlet } from './inlet.ts';
import type { ProxySelector, UpstreamProxy } from './proxy.ts';
import { ReadBuffers } from './readBuffers.ts';
import { type Addresses, type Lookup, Resolver } from './resolve.ts';
import { Sessions } from './sessions.ts';
import { hostPort, type Target } from './target.ts';
import { trustContext } from './trust.ts';
import { openTunnel } from './tunnel.ts';

export interface DialerOptions {
  clock: Clock;
  rootsPem: string;
  ownPorts: ReadonlySet<number>;
  timeoutMs: number;
  proxyFor?: ProxySelector;
  lookup?: Lookup;
}

/** An open connection; `inlet` is where its bytes come from, or the socket's `data` events if it has none (through a proxy). */
export interface Dialled {
  socket: Socket;
  inlet: Inlet | undefined;
}

type Callback = (result: Dialled | Refusal) => void;
type Checkable = Pick<Target, 'authority' | 'credentialed' | 'networks'>;

const ALPN = ['http/1.1'];
/** So that a NAT on the way keeps a quiet stream, and a peer that is gone is noticed. */
const KEEP_ALIVE_MS = 30_000;
/** The most that one TLS record holds, and what libuv reads at once from a plain socket. */
const TLS_READ_BYTES = 16 * 1024;
const PLAIN_READ_BYTES = 64 * 1024;

/** Opens connections: resolve, check, connect, tunnel if a proxy is to be used, TLS. */
export class Dialer {
  readonly options: DialerOptions;
  readonly resolver: Resolver;
  readonly sessions: Sessions;
  readonly context: () => SecureContext;
  readonly tlsBuffers = new ReadBuffers(TLS_READ_BYTES);
  readonly plainBuffers = new ReadBuffers(PLAIN_READ_BYTES);

  constructor(options: DialerOptions) {
    this.options = options;
    this.resolver = new Resolver(options.clock, options.lookup);
    this.sessions = new Sessions(options.clock);
    this.context = trustContext(options.rootsPem);
  }

  /** Returns what calls the attempt off, which is false if it is over already. */
  dial(target: Target, callback: Callback): () => boolean {
    const dial = new Dial(this, target, callback);
    dial.start();
    return () => dial.cancel();
  }
}

/** The errors of a socket that another one is layered over reach us through that one. */
const ignore = (): void => {};

/** One attempt. */
class Dial {
  readonly #dialer: Dialer;
  readonly #target: Target;
  readonly #callback: Callback;
  #timer: NodeJS.Timeout | undefined;
  #socket: Socket | undefined;
  #unwatch: () => void = ignore;
  #over = false;

  constructor(dialer: Dialer, target: Target, callback: Callback) {
    this.#dialer = dialer;
    this.#target = target;
    this.#callback = callback;
  }

  start(): void {
    const { options } = this.#dialer;
    this.#timer = setTimeout(() => this.#timedOut(), options.timeoutMs);
    const { authority, blind } = this.#target;
    const proxy = options.proxyFor?.(blind ? { ...authority, scheme: 'https' } : authority);
    if (proxy !== undefined) this.#throughProxy(proxy);
    else this.#resolve(this.#target, (addresses) => this.#directly(addresses));
  }

  cancel(): boolean {
    if (this.#over) return false;
    this.#end();
    this.#socket?.on('error', ignore).destroy();
    return true;
  }

  #directly(addresses: Addresses): void {
    const { authority } = this.#target;
    const tls = authority.scheme === 'https';
    const inlet = new Inlet(tls ? this.#dialer.tlsBuffers : this.#dialer.plainBuffers);
    const { onread } = inlet;
    const where = hostPort(authority.host, authority.port);
    const options = { ...connectOptions(addresses, authority.port), onread };
    const done = (socket: Socket) => this.#finish({ socket, inlet });
    const socket = tls ? this.#secure(where, options, authority, done) : this.#connect(where, options, done);
    socket.once('close', () => inlet.close());
  }

  /** With a proxy it is the proxy that resolves, so of addresses only a literal can be judged here. */
  #throughProxy(proxy: UpstreamProxy): void {
    const { authority } = this.#target;
    const family = isIP(authority.host);
    if (family !== 0 && this.#check(this.#target, [{ address: authority.host, family }]) === undefined) return;
    const where = `the upstream proxy ${hostPort(proxy.host, proxy.port)}`;
    const done = (socket: Socket) => this.#finish({ socket, inlet: undefined });
    const askTunnel = (socket: Socket) =>
      openTunnel(socket, proxy, authority, (refusal) => {
        if (refusal !== undefined) this.#finish(refusal);
        else if (authority.scheme === 'http') done(socket);
        else this.#secure(hostPort(authority.host, authority.port), { socket }, authority, done);
      });
    const { host, port } = proxy;
    const proxyTarget: Checkable = {
      authority: { scheme: 'http', host, port },
      credentialed: false,
      networks: undefined,
    };
    this.#resolve(proxyTarget, (addresses) => {
      const options = connectOptions(addresses, port);
      if (proxy.tls) this.#secure(where, options, proxy, askTunnel);
      else this.#connect(where, options, askTunnel);
    });
  }

  #resolve(target: Checkable, then: (addresses: Addresses) => void): void {
    this.#dialer.resolver.resolve(target.authority.host, (resolved) => {
      if (this.#over) return;
      if ('kind' in resolved) {
        this.#finish(resolved);
        return;
      }
      const checked = this.#check(target, resolved);
      if (checked !== undefined) then(checked);
    });
  }

  /** The addresses that may be dialled; undefined if that is none, and the attempt over. */
  #check(target: Checkable, addresses: Addresses): Addresses | undefined {
    const checked = checkAddresses(target, addresses, this.#dialer.options.ownPorts);
    if (!('kind' in checked)) return checked;
    this.#finish(checked);
    return undefined;
  }

  #connect(where: string, options: TcpNetConnectOpts, then: (socket: Socket) => void): Socket {
    const socket = netConnect(options);
    this.#watch(socket, (error) => connectRefusal(where, error));
    return socket.once('connect', () => then(socket));
  }

  /** TLS over a new connection, or over `options.socket`. */
  #secure(
    where: string,
    options: ConnectionOptions,
    { host, port }: { host: string; port: number },
    then: (socket: Socket) => void,
  ): Socket {
    const { clock } = this.#dialer.options;
    const { context, sessions } = this.#dialer;
    const key = hostPort(host, port);
    const held = sessions.get(key);
    this.#unwatch();
    options.socket?.on('error', ignore);
    const socket: TLSSocket = tlsConnect({
      ...options,
      secureContext: context(),
      servername: isIP(host) === 0 ? host : '',
      ALPNProtocols: ALPN,
      rejectUnauthorized: true,
      checkServerIdentity: (_, certificate) => identityFault(host, certificate.raw),
      ...(held === undefined ? {} : { session: held.session }),
    });
    let verifiedAtMs = 0;
    let reached = false;
    const begun = () => {
      reached = true;
      // Comes after the certificate is verified, on TLS 1.3 also later and more than once. Not before there is a connection:
      // each address that is tried gets a handle of its own, and Node asks only the present one for sessions.
      socket.on('session', (session: Buffer) => sessions.put(key, session, verifiedAtMs));
    };
    if (options.socket === undefined) socket.once('connect', begun);
    else begun();
    this.#watch(socket, (error) => {
      if (!reached) return connectRefusal(where, error);
      sessions.drop(key);
      return handshakeRefusal(where, socket.authorizationError, error);
    });
    return socket.once('secureConnect', () => {
      verifiedAtMs = held !== undefined && socket.isSessionReused() ? held.verifiedAtMs : clock.monotonicMs();
      then(socket);
    });
  }

  /** From here on the attempt stands and falls with this socket; one that it is layered over no longer counts. */
  #watch(socket: Socket, refusal: (error: Error | undefined) => Refusal): void {
    const fail = (error?: Error | boolean) => this.#finish(refusal(error instanceof Error ? error : undefined));
    socket.on('error', fail).on('close', fail);
    this.#socket = socket;
    this.#unwatch = () => socket.removeListener('error', fail).removeListener('close', fail);
  }

  #timedOut(): void {
    const { host, port } = this.#target.authority;
    const seconds = this.#dialer.options.timeoutMs / 1_000;
    this.#finish(refuse('UpstreamTimeout', `no connection to ${hostPort(host, port)} within ${seconds} s`));
  }

  #finish(result: Dialled | Refusal): void {
    this.#end();
    if ('kind' in result) this.#socket?.on('error', ignore).destroy();
    this.#callback(result);
  }

  #end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#unwatch();
  }
}

/** To just these addresses, the next one if one does not answer (RFC 8305): nothing is resolved again. */
function connectOptions(addresses: Addresses, port: number): TcpNetConnectOpts {
  const common = { port, allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
  if (addresses.length === 1) return { ...common, host: addresses[0]!.address };
  const lookup: LookupFunction = (_host, _options, callback) => callback(null, [...addresses]);
  return { ...common, host: 'upstream', lookup, autoSelectFamily: true };
}
