import { HEARTBEAT_SECONDS } from '../../api/protocol.ts';
import type { NdjsonStream } from './ndjsonStream.ts';

const SLOTS = 25;
/** A new stream goes with the fewest of those whose turn is over for now, so that its first heartbeat is not at once. */
const CHOICE = 10;

/** A heartbeat for each stream every HEARTBEAT_SECONDS, some streams at a time: all at once would keep everybody else waiting. */
export class Heartbeats {
  readonly #slots = Array.from({ length: SLOTS }, () => new Set<NdjsonStream>());
  readonly #timer: NodeJS.Timeout;
  #next = 0;

  constructor() {
    this.#timer = setInterval(() => this.#beat(), (HEARTBEAT_SECONDS * 1000) / SLOTS).unref();
  }

  /** Until it is closed. */
  add(stream: NdjsonStream): void {
    const past = Array.from({ length: CHOICE }, (_, i) => this.#slots[(this.#next + SLOTS - 1 - i) % SLOTS]!);
    const slot = past.reduce((fewest, other) => (other.size < fewest.size ? other : fewest));
    slot.add(stream);
    stream.onClose(() => slot.delete(stream));
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #beat(): void {
    for (const stream of this.#slots[this.#next]!) stream.heartbeat();
    this.#next = (this.#next + 1) % SLOTS;
  }
}
