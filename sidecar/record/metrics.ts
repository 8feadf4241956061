import type { RefusalCode } from '../errors.ts';

/** Upper ends of the buckets of request durations, in seconds: a local refusal takes under a millisecond, a model minutes. */
const BUCKETS_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** `credential`: sent on with material. `passed`: sent on without. `tunnel`: bytes only. `refused`: not sent on, or not answered by the upstream. */
export type Outcome = 'credential' | 'passed' | 'tunnel' | 'refused';

/** What is not counted but asked for when somebody reads the metrics. */
export interface Gauges {
  upstreams: { idle: number; active: number };
  leases: { held: number; waiting: number };
  ready: boolean;
}

/** Counters of the data path: plain numbers, made into Prometheus text when asked. Requests are counted by UsageLog.record, the rest where it happens. */
export class Metrics {
  /** Agent connections open now. */
  clientConnections = 0;
  /** Needles masked in answers. */
  scrubbed = 0;
  /** Usage records that were left out or could not be delivered. */
  usageDropped = 0;
  readonly #outcomes: Record<Outcome, number> = { credential: 0, passed: 0, tunnel: 0, refused: 0 };
  readonly #refusals = new Map<RefusalCode, number>();
  /** By the least upper end that is not below; added up when asked for. */
  readonly #buckets = BUCKETS_SECONDS.map(() => 0);
  #bytesUp = 0;
  #bytesDown = 0;
  #durationMs = 0;
  #requests = 0;

  /** One request is over. */
  request(
    outcome: Outcome,
    r: { refusal?: RefusalCode; bytesUp: number; bytesDown: number; durationMs: number },
  ): void {
    this.#outcomes[outcome] += 1;
    if (r.refusal !== undefined) this.#refusals.set(r.refusal, (this.#refusals.get(r.refusal) ?? 0) + 1);
    this.#bytesUp += r.bytesUp;
    this.#bytesDown += r.bytesDown;
    // A tunnel lasts as long as the agent likes; it would say nothing about the latency of requests.
    if (outcome === 'tunnel') return;
    this.#requests += 1;
    this.#durationMs += r.durationMs;
    const seconds = r.durationMs / 1000;
    let bucket = 0;
    while (bucket < BUCKETS_SECONDS.length && seconds > BUCKETS_SECONDS[bucket]!) bucket += 1;
    if (bucket < BUCKETS_SECONDS.length) this.#buckets[bucket]! += 1;
  }

  /** Prometheus text format 0.0.4. */
  render(gauges: Gauges): string {
    const { heapUsed, external, rss } = process.memoryUsage();
    let below = 0;
    const buckets = BUCKETS_SECONDS.map((le, i): Sample => {
      below += this.#buckets[i]!;
      return [`le="${le}"`, below, '_bucket'];
    });
    return [
      family(
        'sidekey_requests_total',
        'counter',
        'Requests by what became of them.',
        labelled('outcome', this.#outcomes),
      ),
      family(
        'sidekey_refusals_total',
        'counter',
        'Requests that were refused, by the code in sidekey-error.',
        labelled('code', Object.fromEntries(this.#refusals)),
      ),
      family('sidekey_request_duration_seconds', 'histogram', 'From the request head to the end of the answer.', [
        ...buckets,
        ['le="+Inf"', this.#requests, '_bucket'],
        ['', this.#durationMs / 1000, '_sum'],
        ['', this.#requests, '_count'],
      ]),
      family(
        'sidekey_bytes_total',
        'counter',
        'Bytes of bodies and tunnels, towards the upstream and back.',
        labelled('direction', { up: this.#bytesUp, down: this.#bytesDown }),
      ),
      family('sidekey_scrubbed_total', 'counter', 'Echoes of material masked in answers.', [['', this.scrubbed]]),
      family('sidekey_usage_dropped_total', 'counter', 'Uses that the store was not told of one by one.', [
        ['', this.usageDropped],
      ]),
      family('sidekey_client_connections', 'gauge', 'Agent connections open now.', [['', this.clientConnections]]),
      family(
        'sidekey_upstream_connections',
        'gauge',
        'Upstream connections open now.',
        labelled('state', gauges.upstreams),
      ),
      family(
        'sidekey_leases',
        'gauge',
        'Leases in force, and requests that wait for one.',
        labelled('state', gauges.leases),
      ),
      family('sidekey_ready', 'gauge', 'Whether requests are served.', [['', gauges.ready ? 1 : 0]]),
      family('process_resident_memory_bytes', 'gauge', 'Resident memory.', [['', rss]]),
      family('nodejs_heap_used_bytes', 'gauge', 'JavaScript heap in use.', [['', heapUsed]]),
      family('nodejs_external_memory_bytes', 'gauge', 'Memory of buffers and contexts.', [['', external]]),
    ].join('');
  }
}

type Sample = [labels: string, value: number, suffix?: string];

function labelled(label: string, values: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(values).map(([name, value]): Sample => [`${label}="${name}"`, value]);
}

function family(name: string, type: string, help: string, samples: Sample[]): string {
  const lines = samples.map(
    ([labels, value, suffix = '']) => `${name}${suffix}${labels === '' ? '' : `{${labels}}`} ${value}\n`,
  );
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}
