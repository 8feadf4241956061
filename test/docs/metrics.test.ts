import type { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { OperatorMetrics } from '../../operator/metrics/operatorMetrics.ts';
import { Metrics as SidecarMetrics } from '../../sidecar/record/metrics.ts';
import { healthGauges, storeGauges } from '../../store/metrics/storeGauges.ts';
import { StoreMetrics } from '../../store/metrics/storeMetrics.ts';
import { WebhookMetrics } from '../../webhook/metrics.ts';

interface Series {
  name: string;
  type: string;
  help: string;
  labels: readonly string[];
}

const HEADER = `# Metrics

What the parts show to Prometheus, in plain HTTP at \`/metrics\`, beside \`/healthz\` (200 while the process lives) and \`/readyz\` (200 if requests are
served, else 503; with what is not well). Nothing there is secret. This page is written from the code by \`make goldens\`, and a test keeps it so.

Series that begin with \`process_\` and \`nodejs_\` are those of [prom-client](https://github.com/siimon/prom-client#default-metrics), but for the sidecar, which shows three of them.
A Grafana dashboard is in [charts/sidekey/dashboards](../../charts/sidekey/dashboards/sidekey-store.json), alert rules are in
[charts/sidekey/alerts](../../charts/sidekey/alerts/sidekey-store.yaml).
`;

test('docs/reference/metrics.md lists every series of every part', async () => {
  const store = new StoreMetrics();
  healthGauges(store, {} as never);
  storeGauges(store, { store: {}, clock: {}, serverCertificate: () => '' } as never);
  const sidecar = new SidecarMetrics();
  sidecar.request('refused', { refusal: 'Revoked', bytesUp: 0, bytesDown: 0, durationMs: 0 });
  const page = [
    HEADER,
    section(
      'Store',
      'Where it was started with a `metricsPort` (on 127.0.0.1 unless `metricsHost` says otherwise); at port 9090 on Kubernetes. It answers also while it waits sealed for its keys; `/readyz` says `sealed`, `degraded`, `database` and `leader`.',
      seriesOf(store.registry),
    ),
    section(
      'Sidecar',
      'At port 15021 of its pod; with `sidekey run` at a free port of the loopback, which the log of the sidecar names.',
      shownBy(sidecar),
    ),
    section('Operator', 'At port 9090 of each replica on Kubernetes.', seriesOf(new OperatorMetrics().registry)),
    section('Webhook', 'At port 9090 of each replica.', seriesOf(new WebhookMetrics(() => undefined).registry)),
  ].join('\n');
  await expect(page).toMatchFileSnapshot('../../docs/reference/metrics.md');
});

function seriesOf(registry: Registry): Series[] {
  return registry
    .getMetricsAsArray()
    .map((metric) => {
      const { labelNames } = metric as unknown as { labelNames: string[] };
      return { name: metric.name, type: String(metric.type), help: metric.help, labels: labelNames };
    })
    .filter(({ name }) => name.startsWith('sidekey_'));
}

/** The sidecar has no registry: it makes the text itself. */
function shownBy(metrics: SidecarMetrics): Series[] {
  const text = metrics.render({ upstreams: { idle: 0, active: 0 }, leases: { held: 0, waiting: 0 }, ready: true });
  return [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\w+)\n(?:\S+\{(\w+)=)?/gm)].map(
    ([, name, help, type, label]) => ({
      name: name!,
      help: help!,
      type: type!,
      labels: label === undefined || label === 'le' ? [] : [label],
    }),
  );
}

function section(title: string, where: string, series: readonly Series[]): string {
  expect(series.length).toBeGreaterThan(3);
  const rows = series.map(({ help, labels, name, type }) => {
    const label = labels.length === 0 ? '' : `{${labels.join(',')}}`;
    return `| \`${name}${label}\` | ${type} | ${help.replace(/\.$/, '')} |\n`;
  });
  return `## ${title}\n\n${where}\n\n| series | type | what |\n|---|---|---|\n${rows.join('')}`;
}
