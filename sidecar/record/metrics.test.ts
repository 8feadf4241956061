import { expect, test } from 'vitest';
import { Metrics } from './metrics.ts';

const GAUGES = { leases: { held: 2, waiting: 1 }, ready: true, upstreams: { idle: 3, active: 4 } };

test('every line is Prometheus text, and each family has a type and a help', () => {
  const metrics = new Metrics();
  metrics.request('refused', { refusal: 'RuleDenied', bytesUp: 0, bytesDown: 0, durationMs: 1 });
  const lines = metrics.render(GAUGES).trimEnd().split('\n');
  const families = new Set<string>();
  for (const line of lines) {
    const typed = /^# TYPE (\w+) (counter|gauge|histogram)$/.exec(line);
    if (typed !== null) families.add(typed[1]!);
    else if (!line.startsWith('# HELP ')) {
      const sample = /^(\w+?)(_bucket|_sum|_count)?(\{\w+="[^"]+"\})? (\d+(\.\d+)?)$/.exec(line);
      expect([line, families.has(sample?.[1] ?? '')]).toEqual([line, true]);
    }
  }
  expect(families).toContain('process_resident_memory_bytes');
  expect(lines).toContain('sidekey_leases{state="held"} 2');
  expect(lines).toContain('sidekey_upstream_connections{state="active"} 4');
});

test('durations fall into all buckets that are long enough, tunnels into none', () => {
  const metrics = new Metrics();
  for (const durationMs of [0.5, 7, 70, 400_000])
    metrics.request('credential', { bytesUp: 1, bytesDown: 2, durationMs });
  metrics.request('tunnel', { bytesUp: 10, bytesDown: 20, durationMs: 3 });
  const text = metrics.render(GAUGES);
  const bucket = (le: string) => Number(new RegExp(`_bucket\\{le="${le}"\\} (\\d+)`).exec(text)?.[1]);
  expect(['0.001', '0.005', '0.01', '0.1', '300', '\\+Inf'].map(bucket)).toEqual([1, 1, 2, 3, 3, 4]);
  expect(text).toContain('sidekey_request_duration_seconds_count 4\n');
  expect(text).toContain('sidekey_bytes_total{direction="down"} 28\n');
});
