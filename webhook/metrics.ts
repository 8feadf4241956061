import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Outcome } from './review/answerReview.ts';

/** Upper ends of buckets in seconds: a pod takes about a millisecond. */
const BUCKETS_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];

/** What the webhook counts. */
export class WebhookMetrics {
  readonly registry = new Registry();
  readonly #reviews = new Counter({
    name: 'sidekey_webhook_reviews_total',
    help: 'Objects that were reviewed, by kind, by what came of it, and by the code of a refusal or skip.',
    labelNames: ['kind', 'outcome', 'code'],
    registers: [this.registry],
  });
  readonly #seconds = new Histogram({
    name: 'sidekey_webhook_review_seconds',
    help: 'From a whole review to its answer.',
    buckets: BUCKETS_SECONDS,
    registers: [this.registry],
  });
  readonly #warnings = new Counter({
    name: 'sidekey_webhook_warnings_total',
    help: 'Warnings that were sent along.',
    registers: [this.registry],
  });

  /** `certificateEnd`: when the certificate that is served ends, in milliseconds since 1970. */
  constructor(certificateEnd: () => number | undefined) {
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 20 });
    new Gauge({
      name: 'sidekey_webhook_certificate_end_seconds',
      help: 'When the certificate that is served ends, in seconds since 1970; 0 while there is none.',
      registers: [this.registry],
      collect() {
        this.set((certificateEnd() ?? 0) / 1000);
      },
    });
  }

  reviewed(kind: string, outcome: Outcome, code: string, seconds: number, warnings: number): void {
    this.#reviews.inc({ kind, outcome, code });
    this.#seconds.observe(seconds);
    if (warnings > 0) this.#warnings.inc(warnings);
  }
}
