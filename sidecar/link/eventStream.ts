import type { SecureContext } from 'node:tls';
import { HEARTBEAT_SECONDS, type SessionEvent } from '../../api/protocol.ts';
import { Backoff } from '../../lib/backoff.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { EventRequest } from './eventRequest.ts';
import type { StoreFailure } from './storeFailure.ts';
import type { StoreReplicas } from './storeReplicas.ts';

const MISSED_HEARTBEATS = 3;
/** How long nothing may come of the stream until the store is asked by plain requests, and how often then; half as much more or less. */
const POLL_MS = 60_000;
/** What changes the grants; without a cursor of its own it makes the one before void. */
const CHANGES: ReadonlySet<SessionEvent['type']> = new Set(['snapshot', 'grant', 'revoke', 'version']);

export interface EventStreamOptions {
  log: Logger;
  replicas: StoreReplicas;
  /** The identity to connect under, asked for at each attempt. */
  context: () => SecureContext;
  event: (event: SessionEvent) => void;
  /** The store does not know the session any more. */
  revoked: (reason: string) => void;
  /** Silence after which the store counts as away. */
  silenceMs?: number;
  pollMs?: number;
}

/**
 * Follows the events of this session for as long as it lasts. Whenever the stream breaks off or falls silent, it is opened anew and goes on
 * where it was; where none can be had, such as behind something that holds back answers without end, the store is polled.
 */
export class EventStream {
  readonly #o: EventStreamOptions;
  readonly #silenceMs: number;
  readonly #pollMs: number;
  readonly #backoff = new Backoff({ firstMs: 500, limitMs: 10_000 });
  #stream: EventRequest | undefined;
  #poll: EventRequest | undefined;
  #reconnect: NodeJS.Timeout | undefined;
  #pollTimer: NodeJS.Timeout;
  /** What was seen last; empty where that is not known for sure. */
  #cursor = '';
  #closed = false;

  constructor(options: EventStreamOptions) {
    this.#o = options;
    this.#silenceMs = options.silenceMs ?? MISSED_HEARTBEATS * HEARTBEAT_SECONDS * 1000;
    this.#pollMs = options.pollMs ?? POLL_MS;
    this.#pollTimer = this.#pollLater();
    this.#connect();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#reconnect);
    clearTimeout(this.#pollTimer);
    this.#stream?.close();
    this.#poll?.close();
  }

  #connect(): void {
    this.#stream = this.#request(
      'events',
      (failure) => this.#again(failure),
      (event) => {
        // The stream is the better source: what a poll might still bring could be older.
        this.#poll?.close();
        this.#pollTimer.refresh();
        if (event.type === 'snapshot' || event.type === 'resumed') this.#backoff.reset();
      },
    );
  }

  #request(
    what: 'events' | 'snapshot',
    over: (failure: StoreFailure | undefined) => void,
    first: (event: SessionEvent) => void = () => {},
  ): EventRequest {
    const { replicas } = this.#o;
    const address = replicas.current;
    return new EventRequest({
      address,
      context: this.#o.context(),
      path: `/v1/session/${what}?cursor=${encodeURIComponent(this.#cursor)}`,
      silenceMs: this.#silenceMs,
      event: (event) => {
        first(event);
        this.#take(event);
      },
      over: (failure) => {
        if (failure !== undefined || what === 'events') replicas.failed(address);
        if (failure?.code === 'IdentityRevoked') {
          this.close();
          this.#o.revoked(failure.message);
        } else if (!this.#closed) over(failure);
      },
    });
  }

  #take(event: SessionEvent): void {
    if (this.#closed) return;
    if (CHANGES.has(event.type)) this.#cursor = '';
    this.#o.event(event);
    if (event.cursor !== undefined) this.#cursor = event.cursor;
    if (event.type === 'end') this.close();
  }

  #again(failure: StoreFailure | undefined): void {
    // Should it be the cursor that the store does not take.
    if (failure?.code === 'MalformedRequest') this.#cursor = '';
    const pauseMs = this.#backoff.nextMs(failure?.retryAfterSeconds);
    const error = errorText(failure?.message ?? 'the store ended the stream');
    this.#o.log.warn({ error, pauseMs: Math.round(pauseMs) }, 'the store is away; what is held is used');
    this.#reconnect = setTimeout(() => this.#connect(), pauseMs);
  }

  #pollLater(): NodeJS.Timeout {
    const poll = () => {
      this.#poll?.close();
      this.#poll = this.#request('snapshot', (failure) => {
        if (failure !== undefined) this.#o.log.warn({ error: failure.message }, 'the store could not be polled');
      });
      this.#pollTimer = this.#pollLater();
    };
    return setTimeout(poll, this.#pollMs * (0.5 + Math.random()));
  }
}
