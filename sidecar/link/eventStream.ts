import type { SecureContext } from 'node:tls';
import { HEARTBEAT_SECONDS, type SessionEvent } from '../../api/protocol.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { ResponseHead } from '../http1/message.ts';
import { Backoff } from './backoff.ts';
import { LineBuffer } from './lineBuffer.ts';
import type { StoreAddress } from './storeAddress.ts';
import { storeFailure } from './storeAnswer.ts';
import { StoreConnection } from './storeConnection.ts';

const MISSED_HEARTBEATS = 3;
/** A snapshot of many Integrations with long rules. */
const LINE_LIMIT_BYTES = 16 * 1024 * 1024;

export interface EventStreamOptions {
  log: Logger;
  address: StoreAddress;
  /** The identity to connect under, asked for at each attempt. */
  context: () => SecureContext;
  event: (event: SessionEvent) => void;
  /** The store does not know the session any more. */
  revoked: (reason: string) => void;
  /** Silence after which the store counts as away. */
  silenceMs?: number;
}

/** Follows the events of this session for as long as it lasts: whenever the stream breaks off or falls silent, it is opened anew. */
export class EventStream {
  readonly #o: EventStreamOptions;
  readonly #silenceMs: number;
  readonly #backoff = new Backoff({ firstMs: 100, limitMs: 5_000 });
  #connection: StoreConnection | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: EventStreamOptions) {
    this.#o = options;
    this.#silenceMs = options.silenceMs ?? MISSED_HEARTBEATS * HEARTBEAT_SECONDS * 1000;
    this.#connect();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#connection?.destroy();
  }

  #connect(): void {
    const connection = new StoreConnection(this.#o.address, this.#o.context(), () => {});
    this.#connection = connection;
    const silence = setTimeout(() => connection.destroy(new Error('the store fell silent')), this.#silenceMs);
    const lines = new LineBuffer(LINE_LIMIT_BYTES, (line) => this.#line(line));
    let failed: ResponseHead | undefined;
    const over = (error?: Error) => {
      clearTimeout(silence);
      if (failed === undefined) this.#again(error?.message ?? 'the store ended the stream');
      else this.#refused(failed, lines.rest());
    };
    connection.exchange(
      { method: 'GET', path: '/v1/session/events' },
      {
        head: (head) => {
          if (head.status !== 200) failed = head;
        },
        piece: (piece) => {
          silence.refresh();
          lines.push(piece);
        },
        end: () => {
          connection.destroy();
          over();
        },
        failed: over,
      },
    );
  }

  #line(line: string): void {
    const event = JSON.parse(line) as SessionEvent;
    if (this.#closed) return;
    this.#o.event(event);
    if (event.type === 'snapshot') this.#backoff.reset();
    if (event.type === 'end') this.close();
  }

  #refused(head: ResponseHead, body: Buffer): void {
    const failure = storeFailure(head.status, head.fields, body);
    if (failure.code !== 'IdentityRevoked') {
      this.#again(failure.message);
      return;
    }
    this.close();
    this.#o.revoked(failure.message);
  }

  #again(why: string): void {
    if (this.#closed) return;
    const pauseMs = this.#backoff.nextMs();
    this.#o.log.warn(
      { error: errorText(why), pauseMs: Math.round(pauseMs) },
      'the store is away; what is held is used',
    );
    this.#timer = setTimeout(() => this.#connect(), pauseMs);
  }
}
