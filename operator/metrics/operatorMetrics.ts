import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Upper ends of buckets in seconds, from a round that finds nothing to do to one that tells the store of everything. */
const BUCKETS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** What there is at a moment; nothing of it on a standby. */
export interface OperatorView {
  /** By name of the queue. */
  queues(): Readonly<Record<string, number>>;
  /** `Kind True|False|Unknown` → how many. */
  objects(): ReadonlyMap<string, number>;
  /** `collection synced|failed|pending` → how many. */
  reflectors(): ReadonlyMap<string, number>;
  storeConnected(): boolean;
  pods(): number;
}

/** What the operator counts, and shows of itself when somebody reads. */
export class OperatorMetrics {
  readonly registry = new Registry();
  #view: OperatorView | undefined;
  #leading: () => boolean = () => false;
  readonly #rounds = new Histogram({
    name: 'sidekey_operator_round_seconds',
    help: 'How long rounds of gather, decide and act take.',
    buckets: BUCKETS_SECONDS,
    registers: [this.registry],
  });
  readonly #errors = new Counter({
    name: 'sidekey_operator_errors_total',
    help: 'Warnings and errors that were logged, by what they were about.',
    labelNames: ['about'],
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 20 });
    this.#gauge('leader', 'Whether this process leads.', [], (gauge) => gauge.set(this.#leading() ? 1 : 0));
    this.#gauge('store_connected', 'Whether the event stream of the store stands.', [], (gauge) => {
      if (this.#view !== undefined) gauge.set(this.#view.storeConnected() ? 1 : 0);
    });
    this.#gauge('agent_pods', 'Pods with the opt-in label.', [], (gauge) => {
      if (this.#view !== undefined) gauge.set(this.#view.pods());
    });
    this.#gauge('queue_depth', 'What waits to be told, by queue.', ['queue'], (gauge) => {
      for (const [queue, depth] of Object.entries(this.#view?.queues() ?? {})) gauge.set({ queue }, depth);
    });
    this.#gauge('objects', 'Objects by kind and by the status of Ready.', ['kind', 'ready'], (gauge) => {
      for (const [id, count] of this.#view?.objects() ?? []) {
        const [kind, ready] = id.split(' ') as [string, string];
        gauge.set({ kind, ready }, count);
      }
    });
    this.#gauge(
      'reflectors',
      'Collections that are followed, by what and by state.',
      ['collection', 'state'],
      (gauge) => {
        for (const [id, count] of this.#view?.reflectors() ?? []) {
          const [collection, state] = id.split(' ') as [string, string];
          gauge.set({ collection, state }, count);
        }
      },
    );
  }

  leading(read: () => boolean): void {
    this.#leading = read;
  }

  show(view: OperatorView): void {
    this.#view = view;
  }

  round(seconds: number): void {
    this.#rounds.observe(seconds);
  }

  failed(about: 'store' | 'api'): void {
    this.#errors.inc({ about });
  }

  #gauge(name: string, help: string, labelNames: string[], collect: (gauge: Gauge) => void): void {
    const gauge: Gauge = new Gauge({
      name: `sidekey_operator_${name}`,
      help,
      labelNames,
      registers: [this.registry],
      collect: () => {
        gauge.reset();
        collect(gauge);
      },
    });
  }
}
