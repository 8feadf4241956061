import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Clock } from '../../lib/clock.ts';
import type { StoreErrorCode } from '../errors.ts';
import type { Change } from '../persist/repository.ts';

/** Upper ends of buckets in seconds, from one fsync of a fast disk to the time limit of a request. */
const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What the store counts where it happens. What there is at a moment is asked for when somebody reads: storeGauges.ts. */
export class StoreMetrics {
  readonly registry = new Registry();
  readonly #leases = this.#counter('leases_total', 'Leases given.');
  readonly #refusals = this.#counter('refusals_total', 'Requests answered by an error, by its code.', ['code']);
  readonly #requests = this.#counter('requests_total', 'Requests, by route and status.', ['method', 'route', 'status']);
  readonly #refreshFailures = this.#counter(
    'refresh_failures_total',
    'Times that due work (rotations, expiries, the CA) failed.',
  );
  readonly #request = this.#histogram(
    'request_duration_seconds',
    'From a request to the end of its answer; without streams.',
    ['route'],
  );
  readonly #push = this.#histogram('push_seconds', 'From the commit of a change until it is on its way to a reader.');
  readonly #audit = this.#histogram('audit_append_seconds', 'From the making of an audit entry until it is durable.');

  /** Memory, CPU and event loop of the process too. */
  withProcess(): this {
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 20 });
    return this;
  }

  /** A request is over; `route` is its pattern. */
  request(method: string, route: string, status: number, seconds: number): void {
    this.#requests.inc({ method, route, status });
    if (route.endsWith('/events')) return;
    this.#request.observe({ route }, seconds);
    if (route === '/v1/leases' && status === 200) this.#leases.inc();
  }

  refused(code: StoreErrorCode): void {
    this.#refusals.inc({ code });
  }

  refreshFailed(): void {
    this.#refreshFailures.inc();
  }

  pushed(ms: number): void {
    this.#push.observe(ms / 1000);
  }

  /** A follower of commits that times the audit, by the times in it. */
  follower(clock: Clock): { changed(changes: readonly Change[]): void } {
    return {
      changed: (changes) => {
        for (const change of changes) {
          if (change.kind === 'audit')
            this.#audit.observe(Math.max(0, clock.nowMs() - Date.parse(change.head.at)) / 1000);
        }
      },
    };
  }

  /** A value that is read when somebody asks; nothing where there is none. */
  gauge(
    name: string,
    help: string,
    read: () => number | Readonly<Record<string, number>> | undefined,
    label?: string,
  ): void {
    const gauge: Gauge = new Gauge({
      name: `sidekey_store_${name}`,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [this.registry],
      collect: () => {
        gauge.reset();
        const value = read();
        if (typeof value === 'number') gauge.set(value);
        else for (const [of, one] of Object.entries(value ?? {})) gauge.set({ [label!]: of }, one);
      },
    });
  }

  #counter(name: string, help: string, labelNames: string[] = []): Counter {
    return new Counter({ name: `sidekey_store_${name}`, help, labelNames, registers: [this.registry] });
  }

  #histogram(name: string, help: string, labelNames: string[] = []): Histogram {
    return new Histogram({
      name: `sidekey_store_${name}`,
      help,
      labelNames,
      buckets: BUCKETS_SECONDS,
      registers: [this.registry],
    });
  }
}
