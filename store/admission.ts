import type { ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import type { Session } from '../api/session.ts';
import type { Settings } from './config.ts';
import { storeError } from './errors.ts';
import type { Peers } from './identity/peer.ts';

/** How long a connection that is one too many may take to ask something, and so to hear why it is closed. */
const REFUSED_MS = 10_000;
/** Times its bound from which a session is not told any more. */
const FAR_TOO_MANY = 8;

/** How much room one session, and all of a namespace together, may take up: connections, requests under way, event streams. */
export class Admission {
  readonly #peers: Peers;
  readonly #settings: Settings;
  readonly #connections = { session: new Counts(), namespace: new Counts() };
  readonly #requests = new Counts();
  readonly #streams = new Counts();
  readonly #refused = new WeakSet<TLSSocket>();

  constructor(options: { peers: Peers; settings: Settings }) {
    this.#peers = options.peers;
    this.#settings = options.settings;
  }

  /** A connection that is one too many is closed after its first request, which is told why; one that is far too many at once. */
  connected(socket: TLSSocket): void {
    const session = this.#sessionOf(socket);
    if (session === undefined) return;
    const { connectionsPerNamespace, connectionsPerSession } = this.#settings;
    const ofSession = this.#connections.session.add(session.id, socket);
    const ofNamespace = this.#connections.namespace.add(session.namespace, socket);
    if (ofSession > FAR_TOO_MANY * connectionsPerSession) socket.destroy();
    else if (ofSession > connectionsPerSession || ofNamespace > connectionsPerNamespace) {
      this.#refused.add(socket);
      const late = setTimeout(() => socket.destroy(), REFUSED_MS);
      socket.once('close', () => clearTimeout(late));
    }
  }

  /** @throws TooManyRequests: the connection is to be closed then */
  request(socket: TLSSocket, response: ServerResponse, session: Session): void {
    if (this.#refused.has(socket))
      throw storeError('TooManyRequests', 'The session or its namespace has too many connections.');
    if (this.#requests.add(session.id, response) > this.#settings.requestsPerSession)
      throw storeError('TooManyRequests', 'The session has too many requests under way.');
  }

  /** @throws Overloaded */
  stream(response: ServerResponse, session: Session): void {
    if (this.#streams.add(session.namespace, response) > this.#settings.streamsPerNamespace)
      throw storeError('Overloaded', `The sessions of namespace ${session.namespace} have too many event streams.`);
  }

  #sessionOf(socket: TLSSocket): Session | undefined {
    try {
      const identity = this.#peers.identify(socket);
      return identity.kind === 'session' ? identity.session : undefined;
    } catch {
      return undefined; // A stranger: there is a bound for those, and each request is told.
    }
  }
}

/** How many there are of each, until they close. */
class Counts {
  readonly #counts = new Map<string, number>();

  add(key: string, what: { once(event: 'close', listener: () => void): unknown }): number {
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    what.once('close', () => {
      const left = (this.#counts.get(key) ?? 0) - 1;
      if (left > 0) this.#counts.set(key, left);
      else this.#counts.delete(key);
    });
    return count;
  }
}
