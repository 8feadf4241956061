import type { SecureContext } from 'node:tls';
import type { SessionEvent } from '../../api/protocol.ts';
import type { ResponseHead } from '../http1/message.ts';
import { LineBuffer } from './lineBuffer.ts';
import type { StoreAddress } from './storeAddress.ts';
import { storeFailure } from './storeAnswer.ts';
import { StoreConnection } from './storeConnection.ts';
import { connectionFailure, type StoreFailure } from './storeFailure.ts';

/** A snapshot of many Integrations with long rules. */
const LINE_LIMIT_BYTES = 16 * 1024 * 1024;

export interface EventRequestOptions {
  address: StoreAddress;
  context: SecureContext;
  path: string;
  /** Silence after which the store counts as away. */
  silenceMs: number;
  event: (event: SessionEvent) => void;
  /** Called once: undefined after an answer that was whole. */
  over: (failure: StoreFailure | undefined) => void;
}

/** One request, on a connection of its own, that is answered by events, one a line, be there an end to them or not. */
export class EventRequest {
  readonly #connection: StoreConnection;
  #over = false;

  constructor(options: EventRequestOptions) {
    const connection = new StoreConnection(options.address, options.context, () => {});
    this.#connection = connection;
    const silence = setTimeout(() => connection.destroy(new Error('the store fell silent')), options.silenceMs);
    const lines = new LineBuffer(LINE_LIMIT_BYTES, (line) => {
      const event = JSON.parse(line) as SessionEvent;
      if (!this.#over) options.event(event);
    });
    let refused: ResponseHead | undefined;
    const over = (error?: Error) => {
      clearTimeout(silence);
      connection.destroy();
      if (this.#over) return;
      this.#over = true;
      if (refused !== undefined) options.over(storeFailure(refused.status, refused.fields, lines.rest()));
      else options.over(error && connectionFailure(error));
    };
    connection.exchange(
      { method: 'GET', path: options.path },
      {
        head: (head) => {
          if (head.status !== 200) refused = head;
        },
        piece: (piece) => {
          silence.refresh();
          lines.push(piece);
        },
        end: () => over(),
        failed: over,
      },
    );
  }

  /** Without another word. */
  close(): void {
    this.#over = true;
    this.#connection.destroy();
  }
}
