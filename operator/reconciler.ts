import { setTimeout as sleep } from 'node:timers/promises';
import type { ObjectStatus } from '../api/condition.ts';
import type { StoredCredential } from '../api/protocol.ts';
import type { StatusFile } from '../api/statusFile.ts';
import type { Clock } from '../lib/clock.ts';
import { errorCode, errorText } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { Applier } from './act/applier.ts';
import { Mirror } from './act/mirror.ts';
import type { StatusSink } from './act/statusSink.ts';
import type { StoreClient } from './act/storeClient.ts';
import { type Decision, decide } from './decide/decide.ts';
import type { Held } from './decide/held.ts';
import type { DecideInput } from './decide/input.ts';
import type { ObjectSource } from './source/objectSource.ts';

/** When the store cannot be reached although its event stream stands. */
const AGAIN_MS = 1_000;
/** A round over thousands of objects is followed by a rest as long as it was, at most this, so that a burst of changes is a few rounds. */
const REST_LIMIT_MS = 200;
const REST_FROM_MS = 20;
/** Longest that a timer can be set for, in Node.js. */
const TIMER_LIMIT_MS = 2 ** 31 - 1;

export interface ReconcilerOptions {
  source: ObjectSource;
  client: StoreClient;
  statuses: StatusSink;
  clock: Clock;
  log: Logger;
  /** The store does not know us any more. */
  onLost: (error: Error) => void;
  /** A round is over, which took so long. */
  onRound?: (seconds: number) => void;
  /** Whether we may still act; always, unless several operators share the work. */
  permitted?: () => boolean;
}

/** Gathers, decides and acts, one round at a time; whatever happens meanwhile makes one more round. */
export class Reconciler {
  readonly #o: ReconcilerOptions;
  readonly #mirror = new Mirror();
  readonly #applier: Applier;
  readonly #known = new Set<string>();
  #firstSeen: ReadonlyMap<string, string> = new Map();
  #storeAway: string | undefined = 'not connected yet';
  #awayLogged = false;
  /** What the store holds has to be asked for. */
  #relist = true;
  #asked = false;
  #running: Promise<void> | undefined;
  #again = false;
  /** Between two rounds: nothing is being written. */
  #resting = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  /** Events that came while a round was writing, whose own answers they may overtake. */
  readonly #late = new Map<string, StoredCredential>();
  #settled: (() => void) | undefined;
  /** Resolves when the first round with the store is over. */
  readonly firstRound: Promise<void> = new Promise((resolve) => {
    this.#settled = resolve;
  });

  constructor(options: ReconcilerOptions) {
    this.#o = options;
    this.#applier = new Applier({ ...options, mirror: this.#mirror });
  }

  /** What the store holds, as far as is known; undefined before it was asked. */
  get held(): Held | undefined {
    return this.#asked ? this.#mirror : undefined;
  }

  /** Changes that the store has refused, and that are tried again. */
  get retries(): number {
    return this.#applier.failures.size;
  }

  /** Something may be different: makes a round, or one more after the one that is under way. */
  trigger(): void {
    if (this.#closed) return;
    this.#again = true;
    this.#running ??= this.#rounds().finally(() => {
      this.#running = undefined;
      if (this.#again) this.trigger();
    });
  }

  storeConnected(): void {
    this.#storeAway = undefined;
    this.#relist = true;
    this.trigger();
  }

  storeAway(why: string): void {
    this.#setAway(why);
    this.trigger();
  }

  storeChanged(stored: StoredCredential): void {
    if (this.#running !== undefined && !this.#resting) this.#late.set(stored.key, stored);
    else if (!this.#mirror.agrees(stored)) {
      this.#mirror.setCredential(stored);
      this.trigger();
    }
  }

  /** Lets the round under way finish. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #rounds(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      clearTimeout(this.#timer);
      const startedMs = this.#o.clock.monotonicMs();
      try {
        await this.#round();
        const tookMs = this.#o.clock.monotonicMs() - startedMs;
        this.#o.onRound?.(tookMs / 1_000);
        if (tookMs >= REST_FROM_MS) await this.#rest(Math.min(tookMs, REST_LIMIT_MS));
      } catch (error) {
        // A fault of ours must not end the process that withdraws what is withdrawn.
        this.#o.log.error({ error: errorText(error) }, 'a round failed');
        this.#timer = setTimeout(() => this.trigger(), AGAIN_MS);
      }
    }
  }

  async #rest(ms: number): Promise<void> {
    this.#resting = true;
    await sleep(ms, undefined, { ref: !this.#closed });
    this.#resting = false;
  }

  async #round(): Promise<void> {
    const { log, source, statuses } = this.#o;
    this.#remember();
    const settled = this.#storeAway === undefined ? await this.#act() : undefined;
    this.#takeLate();
    const { createdAt, statuses: objects } = settled ?? decide(this.#input());
    this.#firstSeen = createdAt;
    const before = statuses.previous;
    if (statuses.write(objects, source.snapshot().problems)) this.#report(before, objects, log);
    if (this.#storeAway === undefined) this.#settled?.();
    const inMs = Math.min(this.#applier.retryInMs ?? Number.POSITIVE_INFINITY, this.#expiryInMs());
    if (Number.isFinite(inMs)) this.#timer = setTimeout(() => this.trigger(), Math.min(inMs, TIMER_LIMIT_MS));
  }

  /** When the next version is too old, so that its Credential says so. */
  #expiryInMs(): number {
    const nowMs = this.#o.clock.nowMs();
    const times = [...this.#mirror.credentials.values()].map(({ expiresAt }) => Date.parse(expiresAt ?? ''));
    return Math.min(...times.filter((ms) => ms > nowMs).map((ms) => ms - nowMs + 1));
  }

  /** Returns what was decided if nothing had to be done for it, so that it still holds. */
  async #act(): Promise<Decision | undefined> {
    try {
      if (this.#relist) {
        this.#relist = false;
        this.#mirror.reset(await this.#o.client.objects());
        this.#asked = true;
        this.#late.clear();
      }
      const decision = decide(this.#input());
      this.#firstSeen = decision.createdAt;
      await this.#applier.apply(decision.plan);
      this.#awayLogged = false;
      return Object.values(decision.plan).every((tasks) => tasks.length === 0) ? decision : undefined;
    } catch (error) {
      if (errorCode(error) === 'LeadershipLost') return undefined; // The process ends.
      this.#relist = true;
      if (errorCode(error) === 'IdentityLost') this.#o.onLost(error as Error);
      else if (errorCode(error) === undefined) throw error;
      else {
        this.#setAway(errorText(error));
        // The event stream tells when the store is back, unless it has not noticed.
        this.#timer = setTimeout(() => this.storeConnected(), AGAIN_MS);
      }
    }
    return undefined;
  }

  #setAway(why: string): void {
    if (!this.#awayLogged) this.#o.log.warn({ why }, 'the store is away');
    this.#awayLogged = true;
    this.#storeAway = why;
  }

  #input(): DecideInput {
    return {
      source: this.#o.source.snapshot(),
      held: this.#mirror,
      sent: this.#applier.sent,
      failures: this.#applier.failures,
      storeAway: this.#storeAway,
      known: this.#known,
      firstSeen: this.#firstSeen,
      previous: this.#o.statuses.previous,
      now: new Date(this.#o.clock.nowMs()),
    };
  }

  #remember(): void {
    const { credentials, integrations } = this.#o.source.snapshot();
    const { credentials: heldCredentials, integrations: heldIntegrations } = this.#mirror;
    const living = new Set<string>();
    for (const key of [...credentials.keys(), ...heldCredentials.keys()]) living.add(`Credential ${key}`);
    for (const key of [...integrations.keys(), ...heldIntegrations.keys()]) living.add(`Integration ${key}`);
    for (const id of this.#known) if (!living.has(id)) this.#known.delete(id);
    for (const key of credentials.keys()) this.#known.add(`Credential ${key}`);
    for (const key of integrations.keys()) this.#known.add(`Integration ${key}`);
  }

  #takeLate(): void {
    for (const stored of this.#late.values()) {
      if (this.#mirror.agrees(stored) || !this.#mirror.credentials.has(stored.key)) continue;
      this.#relist = true;
      this.#again = true;
    }
    this.#late.clear();
  }

  #report(before: ReadonlyMap<string, ObjectStatus>, objects: StatusFile['objects'], log: Logger): void {
    for (const { key, kind, status } of objects) {
      const ready = readyOf(status);
      const last = readyOf(before.get(`${kind} ${key}`));
      if (ready?.status === last?.status && ready?.reason === last?.reason) continue;
      log.info({ kind, key, ready: ready?.status, reason: ready?.reason }, 'an object changed');
    }
  }
}

function readyOf(status: ObjectStatus | undefined) {
  return status?.conditions.find(({ type }) => type === 'Ready');
}
