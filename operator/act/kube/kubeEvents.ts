import { randomBytes } from 'node:crypto';
import { API_VERSION } from '../../../api/metadata.ts';
import type { Clock } from '../../../lib/clock.ts';
import { errorText } from '../../../lib/errors.ts';
import type { KubeClient } from '../../../lib/kube/client.ts';
import type { Logger } from '../../../lib/log.ts';
import { microTime } from './microTime.ts';

/** The same is not told again of one object within that time. */
const SILENCE_MS = 10 * 60_000;
/** As many at once, and as many a second in the long run (client-go's correlator allows 25 at once, one in 5 minutes, per object). */
const BURST = 50;
const PER_SECOND = 2;
const NOTE_LIMIT = 1_024;
const REMEMBERED_LIMIT = 20_000;

export interface Regarding {
  kind: 'Credential' | 'Integration';
  namespace: string;
  name: string;
  uid?: string | undefined;
}

/** Tells people what they must know, as Events of the object that it is about (events.k8s.io/v1): each once, and not too many. */
export class KubeEvents {
  readonly #client: KubeClient;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #instance: string;
  /** What was told → when. */
  readonly #told = new Map<string, number>();
  #tokens = BURST;
  #filledAtMs: number;
  #dropped = 0;

  constructor(options: { client: KubeClient; clock: Clock; log: Logger; instance: string }) {
    this.#client = options.client;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#instance = options.instance;
    this.#filledAtMs = options.clock.monotonicMs();
  }

  /** How many were left out because there were too many. */
  get dropped(): number {
    return this.#dropped;
  }

  warn(regarding: Regarding, reason: string, note: string): void {
    const nowMs = this.#clock.monotonicMs();
    const said = [regarding.kind, regarding.namespace, regarding.name, regarding.uid, reason, note].join('\n');
    if (nowMs - (this.#told.get(said) ?? Number.NEGATIVE_INFINITY) < SILENCE_MS) return;
    if (!this.#take(nowMs)) {
      this.#dropped += 1;
      return;
    }
    this.#remember(said, nowMs);
    this.#send(regarding, reason, note).catch((error: unknown) => {
      this.#log.debug({ error: errorText(error) }, 'an Event was not taken');
    });
  }

  async #send({ kind, name, namespace, uid }: Regarding, reason: string, note: string): Promise<void> {
    await this.#client.create(`/apis/events.k8s.io/v1/namespaces/${namespace}/events`, {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { namespace, name: `${name}.${randomBytes(8).toString('hex')}` },
      eventTime: microTime(this.#clock.nowMs()),
      reportingController: 'sidekey.dev/operator',
      reportingInstance: this.#instance.slice(0, 128),
      action: 'Reconcile',
      type: 'Warning',
      reason,
      note: note.length > NOTE_LIMIT ? `${note.slice(0, NOTE_LIMIT - 1)}…` : note,
      regarding: { apiVersion: API_VERSION, kind, namespace, name, ...(uid !== undefined && { uid }) },
    });
  }

  #take(nowMs: number): boolean {
    this.#tokens = Math.min(BURST, this.#tokens + ((nowMs - this.#filledAtMs) / 1_000) * PER_SECOND);
    this.#filledAtMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  #remember(said: string, nowMs: number): void {
    this.#told.delete(said);
    this.#told.set(said, nowMs);
    for (const [one, atMs] of this.#told) {
      if (this.#told.size <= REMEMBERED_LIMIT && nowMs - atMs < SILENCE_MS) return;
      this.#told.delete(one);
    }
  }
}
