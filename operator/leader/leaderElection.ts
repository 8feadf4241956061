import { setTimeout as sleep } from 'node:timers/promises';
import type { V1Lease } from '@kubernetes/client-node';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import { type KubeClient, KubeError } from '../../lib/kube/client.ts';
import type { Logger } from '../../lib/log.ts';
import { microTime } from '../act/kube/microTime.ts';

/** As client-go's controllers have it (LeaderElectionConfig), so that operators of clusters know what to expect. */
const LEASE_SECONDS = 15;
const RENEW_DEADLINE_MS = 10_000;
const RETRY_MS = 2_000;
const RELEASE_MS = 2_000;
const NOT_FOUND = 404;
const CONFLICT = 409;

export interface LeaderElectionOptions {
  client: KubeClient;
  namespace: string;
  /** Of the Lease. */
  name: string;
  /** Who we are: unlike any other, also from one start to the next. */
  identity: string;
  clock: Clock;
  log: Logger;
  /** It was lost: whoever acted as the leader must end at once. */
  onLost: (why: string) => void;
}

/**
 * Leadership by a Lease of coordination.k8s.io/v1.
 *
 * Others' clocks are not believed: a lease has run out when it was not renewed for its duration as seen from here (client-go does the same).
 */
export class LeaderElection {
  readonly #o: LeaderElectionOptions;
  readonly #path: string;
  readonly #stop = new AbortController();
  #lease: V1Lease | undefined;
  /** When what is in the Lease was first seen. */
  #observedAtMs = 0;
  #renewedAtMs = Number.NEGATIVE_INFINITY;
  #leading = false;
  #loop: Promise<void> | undefined;

  constructor(options: LeaderElectionOptions) {
    this.#o = options;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${options.namespace}/leases`;
  }

  /** Whether we lead at this moment. A process that was stopped for a while finds out here that it does not any more. */
  get leading(): boolean {
    return this.#leading && this.#o.clock.monotonicMs() - this.#renewedAtMs < RENEW_DEADLINE_MS;
  }

  /** Resolves when we lead; from then on `onLost` is called if that ends. */
  async lead(): Promise<void> {
    while (!this.#stop.signal.aborted && !(await this.#try())) await this.#pause();
    if (this.#stop.signal.aborted) return;
    this.#leading = true;
    this.#o.log.info({ lease: this.#o.name, identity: this.#o.identity }, 'this process leads');
    this.#loop = this.#keep();
  }

  /** Gives the Lease up, so that the next one need not wait for its end. */
  async release(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    if (!this.leading) return;
    this.#leading = false;
    const lease = this.#lease!;
    const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: this.#now() };
    await Promise.race([
      this.#o.client.replace(`${this.#path}/${this.#o.name}`, { ...lease, spec }).catch((error: unknown) => {
        this.#o.log.warn({ error: errorText(error) }, 'the Lease could not be given up; it runs out');
      }),
      sleep(RELEASE_MS, undefined, { ref: false }),
    ]);
  }

  async #keep(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#pause();
      if (this.#stop.signal.aborted) return;
      if (!this.leading) {
        this.#lost('it was not renewed in time');
        return;
      }
      const renewed = await Promise.race([this.#try(), sleep(RENEW_DEADLINE_MS, false, { ref: false })]);
      if (!renewed && this.#takenByOther()) {
        this.#lost(`${this.#lease?.spec?.holderIdentity} has it`);
        return;
      }
    }
  }

  #lost(why: string): void {
    this.#leading = false;
    if (!this.#stop.signal.aborted) this.#o.onLost(why);
  }

  #takenByOther(): boolean {
    return (this.#lease?.spec?.holderIdentity ?? '') !== this.#o.identity;
  }

  /** Whether the Lease is ours after one attempt to take or renew it. */
  async #try(): Promise<boolean> {
    const startedMs = this.#o.clock.monotonicMs();
    try {
      const taken =
        this.#leading && this.#lease !== undefined && !this.#takenByOther() ? await this.#renew() : await this.#take();
      // From before the request: the server may have counted from then on.
      if (taken) this.#renewedAtMs = startedMs;
      return taken;
    } catch (error) {
      if (error instanceof KubeError && error.status === CONFLICT) await this.#look().catch(() => {});
      else
        this.#o.log.warn(
          { lease: this.#o.name, error: errorText(error) },
          'the Lease cannot be had; it is tried again',
        );
      return false;
    }
  }

  async #renew(): Promise<boolean> {
    const lease = this.#lease!;
    const spec = { ...lease.spec, renewTime: this.#now() };
    this.#seen(await this.#o.client.replace<V1Lease>(`${this.#path}/${this.#o.name}`, { ...lease, spec }));
    return true;
  }

  async #take(): Promise<boolean> {
    await this.#look();
    const { clock, identity, name, namespace } = this.#o;
    const lease = this.#lease;
    const now = this.#now();
    const ours = { holderIdentity: identity, leaseDurationSeconds: LEASE_SECONDS, acquireTime: now, renewTime: now };
    if (lease === undefined) {
      const body = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name, namespace } };
      this.#seen(await this.#o.client.create<V1Lease>(this.#path, { ...body, spec: { ...ours, leaseTransitions: 0 } }));
      return true;
    }
    const { holderIdentity = '', leaseDurationSeconds = LEASE_SECONDS, leaseTransitions = 0 } = lease.spec ?? {};
    const free = holderIdentity === '' || clock.monotonicMs() - this.#observedAtMs > leaseDurationSeconds * 1_000;
    // One who leads and lost sight of the Lease does not take it back: whoever had it meanwhile may have acted.
    if (holderIdentity === identity && this.#leading) return this.#renew();
    if (!free && holderIdentity !== identity) return false;
    if (this.#leading) return false;
    const spec = { ...lease.spec, ...ours, leaseTransitions: leaseTransitions + 1 };
    this.#seen(await this.#o.client.replace<V1Lease>(`${this.#path}/${name}`, { ...lease, spec }));
    return true;
  }

  async #look(): Promise<void> {
    try {
      this.#seen(await this.#o.client.get<V1Lease>(`${this.#path}/${this.#o.name}`));
    } catch (error) {
      if (!(error instanceof KubeError && error.status === NOT_FOUND)) throw error;
      this.#lease = undefined;
    }
  }

  #seen(lease: V1Lease): void {
    if (lease.metadata?.resourceVersion !== this.#lease?.metadata?.resourceVersion)
      this.#observedAtMs = this.#o.clock.monotonicMs();
    this.#lease = lease;
  }

  /** A string: client-node's types say Date, whose JSON has too few digits. */
  #now(): Date {
    return microTime(this.#o.clock.nowMs()) as unknown as Date;
  }

  async #pause(): Promise<void> {
    await sleep(RETRY_MS * (0.8 + 0.4 * Math.random()), undefined, { signal: this.#stop.signal }).catch(() => {});
  }
}
