import type { JoinProof, ObjectEvent } from '../api/protocol.ts';
import { Backoff } from '../lib/backoff.ts';
import { errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { ObjectEvents } from './act/objectEvents.ts';
import type { StoreClient } from './act/storeClient.ts';
import { keepRenewed, type Renewal, renewIdentity } from './renewal.ts';

const JOIN = { firstMs: 200, limitMs: 15_000 };

export interface StoreLinkOptions {
  client: StoreClient;
  log: Logger;
  /** What the store is trusted by, as of now. */
  trustBundlePem: () => string;
  /** Asked at each join: what it says may be good for a time only. */
  proof: () => Promise<JoinProof>;
  onConnected: () => void;
  onEvent: (event: Extract<ObjectEvent, { type: 'credential' }>) => void;
  onAway: (why: string) => void;
}

/** Joins the store, follows its events, renews, and joins anew when the identity is lost: for as long as the process lives. */
export class StoreLink {
  readonly #o: StoreLinkOptions;
  readonly #stop = new AbortController();
  readonly #backoff = new Backoff(JOIN);
  #events: ObjectEvents | undefined;
  #renewal: Renewal | undefined;
  #started = false;
  #joining = false;
  #connected = false;
  /** What the store was trusted by when we joined. */
  #joinedWith: string | undefined;

  constructor(options: StoreLinkOptions) {
    this.#o = options;
  }

  get connected(): boolean {
    return this.#connected;
  }

  start(): void {
    this.#started = true;
    this.#join('not joined yet').catch((error: unknown) => {
      this.#o.log.error({ error: errorText(error) }, 'joining the store failed by a fault of ours');
    });
  }

  /** Whoever is told that the identity is lost says so here. */
  lost(error: Error): void {
    if (this.#joining || this.#stop.signal.aborted) return;
    this.#o.log.warn({ error: error.message }, 'the store does not know this operator any more; it joins anew');
    this.#away('the operator joins anew');
    this.start();
  }

  /** The trust bundle may be another: one that cannot reach the store joins anew with it. */
  trustChanged(): void {
    if (!this.#started || this.#connected || this.#joining || this.#joinedWith === this.#o.trustBundlePem()) return;
    this.start();
  }

  close(): void {
    this.#stop.abort();
    this.#renewal?.stop();
    this.#events?.close();
  }

  async #join(why: string): Promise<void> {
    if (this.#joining) return;
    this.#joining = true;
    this.#renewal?.stop();
    this.#events?.close();
    let last = why;
    try {
      while (!this.#stop.signal.aborted) {
        try {
          const trust = this.#o.trustBundlePem();
          await this.#o.client.join(trust, await this.#o.proof());
          this.#joinedWith = trust;
          break;
        } catch (error) {
          const text = errorText(error);
          if (text !== last) this.#o.log.warn({ error: text }, 'the store cannot be joined; it is tried again');
          last = text;
          this.#away(text);
          await this.#backoff.pause(0, this.#stop.signal);
        }
      }
    } finally {
      this.#joining = false;
    }
    if (!this.#stop.signal.aborted) this.#follow();
  }

  #follow(): void {
    const { client, log, onEvent } = this.#o;
    this.#backoff.reset();
    const events = new ObjectEvents({
      client,
      onConnected: () => {
        this.#connected = true;
        this.#o.onConnected();
      },
      onEvent,
      onRenew: (withinSeconds) => renewal.within(withinSeconds),
      onAway: (why) => {
        this.#away(why);
        this.trustChanged();
      },
      onLost: (error) => this.lost(error),
    });
    const renewal = keepRenewed(client, {
      renew: async () => renewIdentity(client, this.#o.trustBundlePem(), await this.#o.proof()),
      onRenewed: () => events.restart(),
      onLost: (error) => this.lost(error),
      log,
    });
    this.#events = events;
    this.#renewal = renewal;
    events.start();
  }

  #away(why: string): void {
    this.#connected = false;
    this.#o.onAway(why);
  }
}
