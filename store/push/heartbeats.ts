import { HEARTBEAT_SECONDS } from '../../api/protocol.ts';
import type { NdjsonStream } from './ndjsonStream.ts';

const SLOTS = 25;

/** A heartbeat for each stream every HEARTBEAT_SECONDS, some streams at a time: all at once would keep everybody else waiting. */
export class Heartbeats {
  readonly #slots = Array.from({ length: SLOTS }, () => new Set<NdjsonStream>());
  readonly #timer: NodeJS.Timeout;
  #opened = 0;
  #next = 0;

  constructor() {
    this.#timer = setInterval(() => this.#beat(), (HEARTBEAT_SECONDS * 1000) / SLOTS).unref();
  }

  /** Until it is closed. */
  add(stream: NdjsonStream): void {
    const slot = this.#slots[this.#opened++ % SLOTS]!;
    slot.add(stream);
    stream.onClose(() => slot.delete(stream));
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    for (const stream of this.#slots[this.#next++ % SLOTS]!) stream.heartbeat();
  }
}
