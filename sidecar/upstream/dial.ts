import { X509Certificate } from 'node:crypto';
import { isIP, type LookupFunction, connect as netConnect, type Socket } from 'node:net';
import { type SecureContext, connect as tlsConnect } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { type Refusal, refuse } from '../errors.ts';
import { checkAddresses } from './checkAddresses.ts';
import { connectRefusal, handshakeRefusal } from './failures.ts';
import type { ProxySelector, UpstreamProxy } from './proxy.ts';
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

const ALPN = ['http/1.1'];
/** So that a NAT on the way keeps a quiet stream, and a peer that is gone is noticed. */
const KEEP_ALIVE_MS = 30_000;

/** Opens connections: resolve, check, connect, tunnel if a proxy is to be used, TLS. One attempt is one Dial. */
export class Dialer {
  readonly options: DialerOptions;
  readonly resolver: Resolver;
  readonly sessions: Sessions;
  readonly context: () => SecureContext;

  constructor(options: DialerOptions) {
    this.options = options;
    this.resolver = new Resolver(options.clock, options.lookup);
    this.sessions = new Sessions(options.clock);
    this.context = trustContext(options.rootsPem);
  }

  /** Returns what calls the attempt off, which is false if it is over already. */
  dial(target: Target, callback: (result: Socket | Refusal) => void): () => boolean {
    const dial = new Dial(this, target, callback);
    dial.start();
    return () => dial.cancel();
  }

  prewarm(): void {
    this.context();
  }
}

/** The errors of a socket that another one is layered over reach us through that one. */
const ignore = (): void => {};

class Dial {
  readonly #dialer: Dialer;
  readonly #target: Target;
  readonly #callback: (result: Socket | Refusal) => void;
  #timer: NodeJS.Timeout | undefined;
  #socket: Socket | undefined;
  #unwatch: () => void = ignore;
  #over = false;

  constructor(dialer: Dialer, target: Target, callback: (result: Socket | Refusal) => void) {
    this.#dialer = dialer;
    this.#target = target;
    this.#callback = callback;
  }

  start(): void {
    const { options } = this.#dialer;
    const { authority } = this.#target;
    const { host, port } = authority;
    this.#timer = setTimeout(() => this.#timedOut(), options.timeoutMs);
    const proxy = options.proxyFor?.(authority);
    if (proxy !== undefined) this.#throughProxy(proxy);
    else this.#connect(hostPort(host, port), this.#target, (socket) => this.#reached(socket));
  }

  cancel(): boolean {
    if (this.#over) return false;
    this.#end();
    this.#socket?.on('error', ignore).destroy();
    return true;
  }

  /** With a proxy it is the proxy that resolves, so of addresses only a literal can be judged here. */
  #throughProxy(proxy: UpstreamProxy): void {
    const { host, port } = this.#target.authority;
    const family = isIP(host);
    if (family !== 0) {
      const checked = checkAddresses(this.#target, [{ address: host, family }], this.#dialer.options.ownPorts);
      if ('kind' in checked) {
        this.#finish(checked);
        return;
      }
    }
    const where = `the upstream proxy ${hostPort(proxy.host, proxy.port)}`;
    const askTunnel = (socket: Socket) =>
      openTunnel(socket, proxy, { host, port }, (refusal) => {
        if (refusal === undefined) this.#reached(socket);
        else this.#finish(refusal);
      });
    const proxyTarget = {
      authority: { scheme: 'http', host: proxy.host, port: proxy.port },
      credentialed: false,
      networks: undefined,
    } as const;
    this.#connect(where, proxyTarget, (socket) => {
      if (proxy.tls) this.#secure(where, socket, proxy, askTunnel);
      else askTunnel(socket);
    });
  }

  #reached(socket: Socket): void {
    const { authority } = this.#target;
    const done = (result: Socket) => this.#finish(result);
    if (authority.scheme === 'http') done(socket);
    else this.#secure(hostPort(authority.host, authority.port), socket, authority, done);
  }

  #connect(
    where: string,
    target: Pick<Target, 'authority' | 'credentialed' | 'networks'>,
    then: (socket: Socket) => void,
  ): void {
    this.#dialer.resolver.resolve(target.authority.host, (resolved) => {
      if (this.#over) return;
      const checked = 'kind' in resolved ? resolved : checkAddresses(target, resolved, this.#dialer.options.ownPorts);
      if ('kind' in checked) {
        this.#finish(checked);
        return;
      }
      const socket = connectTo(checked, target.authority.port);
      this.#watch(socket, (error) => connectRefusal(where, error));
      socket.once('connect', () => then(socket));
    });
  }

  #secure(
    where: string,
    lower: Socket,
    { host, port }: { host: string; port: number },
    then: (socket: Socket) => void,
  ): void {
    const { context, sessions, options } = this.#dialer;
    const key = hostPort(host, port);
    const held = sessions.get(key);
    this.#unwatch();
    lower.on('error', ignore);
    const socket = tlsConnect({
      socket: lower,
      secureContext: context(),
      servername: isIP(host) === 0 ? host : '',
      ALPNProtocols: ALPN,
      rejectUnauthorized: true,
      checkServerIdentity: (_, certificate) => identityFault(host, certificate.raw),
      ...(held === undefined ? {} : { session: held.session }),
    });
    this.#watch(socket, (error) => {
      sessions.drop(key);
      return handshakeRefusal(where, socket.authorizationError, error);
    });
    // Comes after the certificate is verified, on TLS 1.3 also later and more than once.
    let verifiedAtMs = 0;
    socket.on('session', (session: Buffer) => sessions.put(key, session, verifiedAtMs));
    socket.once('secureConnect', () => {
      verifiedAtMs = held !== undefined && socket.isSessionReused() ? held.verifiedAtMs : options.clock.monotonicMs();
      then(socket);
    });
  }

  /** From here on the attempt stands and falls with this socket; a lower one that it is layered over no longer counts. */
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

  #finish(result: Socket | Refusal): void {
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

/** Happy Eyeballs (RFC 8305) over just these addresses: nothing is resolved again. */
function connectTo(addresses: Addresses, port: number): Socket {
  const common = { port, allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
  if (addresses.length === 1) return netConnect({ ...common, host: addresses[0]!.address });
  const lookup: LookupFunction = (_host, _options, callback) => callback(null, [...addresses]);
  return netConnect({ ...common, host: 'upstream', lookup, autoSelectFamily: true });
}

/** By subject alternative names only: RFC 9525 section 6.4 leaves the common name out. */
function identityFault(host: string, certificateDer: Buffer): Error | undefined {
  const certificate = new X509Certificate(certificateDer);
  const fits =
    isIP(host) === 0
      ? certificate.checkHost(host, { subject: 'never', partialWildcards: false })
      : certificate.checkIP(host);
  if (fits !== undefined) return undefined;
  return Object.assign(new Error('the certificate is for another host'), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
}
