import type { Clock } from '../../lib/clock.ts';
import { type Refusal, refuse } from '../errors.ts';
import { type ConnectionOwner, PooledConnection, type UpstreamConnection } from './connection.ts';
import { Dialer, type Dialled } from './dial.ts';
import { Pool } from './pool.ts';
import type { ProxySelector } from './proxy.ts';
import type { Lookup } from './resolve.ts';
import type { Target } from './target.ts';

export type { UpstreamConnection, UpstreamHandler } from './connection.ts';
export type { Target } from './target.ts';

export interface UpstreamOptions {
  clock: Clock;
  /** PEM of everything that upstreams and https proxies are verified against (trustedRootsPem). */
  rootsPem: string;
  /** Ports that this process listens on; read at each dial, so it may be filled later. */
  ownPorts: ReadonlySet<number>;
  /** The corporate proxy for an authority (proxySelector); none if left out. */
  proxyFor?: ProxySelector;
  lookup?: Lookup;
  /** Connections in all: being opened, in use and idle. */
  connectionLimit?: number;
  /** For resolving, connecting and handshakes together. */
  openTimeoutMs?: number;
}

const CONNECTION_LIMIT = 4_096;
const OPEN_TIMEOUT_MS = 10_000;

type Callback = (result: UpstreamConnection | Refusal) => void;

/** Connections to upstreams: idle ones first, else dialled as data path rules 1 and 2 want; bounded in number and time. */
export class Upstreams implements ConnectionOwner {
  readonly #clock: Clock;
  readonly #dialer: Dialer;
  readonly #pool: Pool;
  readonly #limit: number;
  readonly #open = new Set<PooledConnection>();
  #dialling = 0;
  #closed = false;

  constructor(options: UpstreamOptions) {
    this.#clock = options.clock;
    this.#limit = options.connectionLimit ?? CONNECTION_LIMIT;
    this.#pool = new Pool(options.clock);
    this.#dialer = new Dialer({ ...options, timeoutMs: options.openTimeoutMs ?? OPEN_TIMEOUT_MS });
  }

  /**
   * Gives a connection to the target, at once if an idle one is at hand and `fresh` is not asked for.
   *
   * The borrower sets `handler` in the callback. Returns a function that calls the attempt off: the callback is then not called any more.
   */
  acquire(target: Target, fresh: boolean, callback: Callback): () => void {
    if (this.#closed) {
      callback(refuse('Draining', 'the sidecar is shutting down'));
      return nothing;
    }
    const idle = fresh ? undefined : this.#pool.take(target.id);
    if (idle !== undefined) {
      callback(idle);
      return nothing;
    }
    if (this.#open.size + this.#dialling >= this.#limit && !this.#pool.evictOne()) {
      callback(refuse('Overloaded', `${this.#limit} upstream connections are open already`, 1));
      return nothing;
    }
    this.#dialling++;
    const cancel = this.#dialer.dial(target, (result) => {
      this.#dialling--;
      callback('kind' in result ? result : this.#own(result, target.id));
    });
    return () => {
      if (cancel()) this.#dialling--;
    };
  }

  #own(dialled: Dialled, id: string): PooledConnection {
    const connection = new PooledConnection(dialled, id, this.#clock.monotonicMs(), this);
    this.#open.add(connection);
    return connection;
  }

  /** Destroys idle connections, such as those of a credential version that is gone. */
  dropIdle(selector: string | ((id: string) => boolean)): void {
    this.#pool.drop(typeof selector === 'string' ? (id) => id.startsWith(selector) : selector);
  }

  /** Ends idle connections and takes no new borrowers; those in use go on until they are released. */
  close(): void {
    this.#closed = true;
    this.#pool.drop(() => true);
  }

  stats(): { idle: number; active: number } {
    const idle = this.#pool.count;
    return { idle, active: this.#open.size - idle + this.#dialling };
  }

  /** Reads the roots now rather than at the first connection. */
  prewarm(): void {
    this.#dialer.context();
  }

  released(connection: PooledConnection, hintSeconds: number | undefined): void {
    if (this.#closed) connection.destroy();
    else this.#pool.put(connection, hintSeconds);
  }

  gone(connection: PooledConnection): void {
    this.#open.delete(connection);
    this.#pool.forget(connection);
  }
}

function nothing(): void {}
