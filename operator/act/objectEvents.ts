import { setTimeout as sleep } from 'node:timers/promises';
import { HEARTBEAT_SECONDS, type ObjectEvent } from '../../api/protocol.ts';
import { Backoff } from '../../lib/backoff.ts';
import { errorCode, errorText } from '../../lib/errors.ts';
import type { StoreClient } from './storeClient.ts';

const SILENCE_MS = 3 * HEARTBEAT_SECONDS * 1000;
const LINE_LIMIT_BYTES = 1024 * 1024;
const RECONNECT_FIRST_MS = 100;
const RECONNECT_MOST_MS = 5_000;

export interface ObjectEventsOptions {
  client: StoreClient;
  /** The stream stands: from now on every change is told. What changed before has to be asked for. */
  onConnected: () => void;
  onEvent: (event: Extract<ObjectEvent, { type: 'credential' }>) => void;
  /** The certificate is to be renewed within that time. */
  onRenew: (withinSeconds: number) => void;
  /** The stream has ended or could not be opened, with why. */
  onAway: (why: string) => void;
  /** The store does not know us any more. */
  onLost: (error: Error) => void;
}

/** Follows what changes in the store without our doing, for as long as the process lives. */
export class ObjectEvents {
  readonly #o: ObjectEventsOptions;
  readonly #stop = new AbortController();
  readonly #backoff = new Backoff({ firstMs: RECONNECT_FIRST_MS, limitMs: RECONNECT_MOST_MS });
  #stream = new AbortController();

  constructor(options: ObjectEventsOptions) {
    this.#o = options;
  }

  start(): void {
    this.#run().catch((error: Error) => this.#o.onLost(error));
  }

  /** Opens the stream anew, under the identity that the client has now. */
  restart(): void {
    this.#backoff.reset();
    this.#stream.abort();
  }

  close(): void {
    this.#stop.abort();
    this.#stream.abort();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const why = await this.#follow();
      if (this.#stop.signal.aborted) return;
      this.#o.onAway(why);
      await sleep(this.#backoff.nextMs(), undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }

  /** One stream to its end; why it ended. @throws IdentityLost */
  async #follow(): Promise<string> {
    this.#stream = new AbortController();
    const stream = this.#stream;
    let silence = setTimeout(() => stream.abort(), SILENCE_MS);
    try {
      for await (const line of linesOf(await this.#o.client.events(stream.signal))) {
        clearTimeout(silence);
        silence = setTimeout(() => stream.abort(), SILENCE_MS);
        this.#take(JSON.parse(line) as ObjectEvent);
      }
      return 'its event stream ended';
    } catch (error) {
      if (errorCode(error) === 'IdentityLost') throw error;
      return stream.signal.aborted ? 'its event stream fell silent' : errorText(error);
    } finally {
      clearTimeout(silence);
    }
  }

  #take(event: ObjectEvent): void {
    if (event.type === 'ready') {
      this.#backoff.reset();
      this.#o.onConnected();
    } else if (event.type === 'credential') this.#o.onEvent(event);
    else if (event.type === 'renew') this.#o.onRenew(event.withinSeconds);
  }
}

async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop()!;
    if (rest.length > LINE_LIMIT_BYTES) throw new RangeError('a line of the event stream is too long');
    yield* lines;
  }
}
