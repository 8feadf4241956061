import { setImmediate as settled } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { UsageReport } from '../../api/protocol.ts';
import { UsageReport as UsageReportSchema } from '../../api/protocolSchema.ts';
import { Material } from '../../lib/material.ts';
import { ManualClock } from '../../store/testing/clock.ts';
import { integrationRecord } from '../../store/testing/records.ts';
import { compileEntry } from '../grants/entry.ts';
import { HeldLease } from '../grants/lease.ts';
import { quiet, until } from '../link/testkit.ts';
import { Metrics } from './metrics.ts';
import { UsageLog, type Use } from './usage.ts';

/** A path segment that is no identifier. */
const word = (n: number) => n.toString(26).replace(/[0-9]/g, (digit) => String.fromCharCode(0x71 + Number(digit)));

const USE: Use = {
  authority: 'api.example.com:443',
  method: 'GET',
  path: '/v1/models',
  status: 200,
  bytesUp: 1,
  bytesDown: 20,
  durationMs: 2.5,
};
let reports: UsageReport[];
let failures: number;
let metrics: Metrics;
let usage: UsageLog;

beforeEach(() => {
  reports = [];
  failures = 0;
  metrics = new Metrics();
  const report = async (one: UsageReport) => {
    if (failures > 0) {
      failures -= 1;
      throw new Error('the store is away');
    }
    reports.push(UsageReportSchema.parse(one));
  };
  usage = new UsageLog({ clock: new ManualClock(), log: quiet, metrics, sink: { report } });
});
afterEach(() => usage.flush());

test('equal requests are one record with a count, and reach the store within a second', async () => {
  const startMs = performance.now();
  usage.record(USE);
  usage.record({ ...USE, bytesDown: 30 });
  usage.record({ ...USE, status: 404 });
  await until(() => reports.length > 0);
  expect(performance.now() - startMs).toBeLessThan(1_000);
  expect(reports).toEqual([
    {
      records: [
        {
          ...USE,
          requestId: expect.stringMatching(/^[0-9a-f]{12}-1$/),
          lastRequestId: expect.stringMatching(/^[0-9a-f]{12}-2$/),
          atMs: expect.any(Number),
          count: 2,
          bytesUp: 2,
          bytesDown: 50,
          durationMs: 5,
        },
        { ...USE, requestId: expect.stringMatching(/-3$/), atMs: expect.any(Number), count: 1, status: 404 },
      ],
      dropped: 0,
    },
  ]);
});

test('a record says under which Integration and lease, and no more than that', async () => {
  const { subjects: _, ...record } = integrationRecord();
  const entry = compileEntry({ ...record, integration: 'default/example' });
  const material = new Material().set('value', Buffer.from('sk-secret'));
  const at = { monotonicMs: 0, wallMs: 0 };
  const lease = new HeldLease('default/key', { id: 'lease-1', version: 3, expiresInSeconds: 60, material }, at);
  usage.record({ ...USE, entry, lease });
  usage.record({ ...USE, entry, status: 403, refusal: 'RuleDenied' });
  await usage.flush();
  expect(reports[0]!.records).toMatchObject([
    { integration: 'default/example', credential: 'default/key', version: 3, leaseId: 'lease-1' },
    { integration: 'default/example', credential: 'default/key', refusal: 'RuleDenied' },
  ]);
  expect(JSON.stringify(reports)).not.toContain('sk-secret');
});

test('a record has the template of the path and the number of the rule, and different rules are different records', async () => {
  const { subjects: _, ...record } = integrationRecord();
  const rules = [
    { action: 'Deny', methods: ['DELETE'] },
    { action: 'Allow', paths: [{ type: 'PathPrefix', value: '/v1/7' }] },
    { action: 'Allow' },
  ] as const;
  const entry = compileEntry({ ...record, rules: rules as never, integration: 'default/example' });
  for (const path of ['/v1/7', '/v1/8', '/v1/9']) usage.record({ ...USE, entry, path });
  usage.record({ ...USE, entry, path: '/v1/8', method: 'DELETE', status: 403, refusal: 'RuleDenied' });
  await usage.flush();
  expect(reports[0]!.records).toMatchObject([
    { path: '/v1/{id}', rule: 2, count: 1 },
    { path: '/v1/{id}', rule: 3, count: 2 },
    { path: '/v1/{id}', rule: 1, count: 1, refusal: 'RuleDenied' },
  ]);
});

test('request ids are short, and no two are the same, of this process or of others', () => {
  const other = new UsageLog({ clock: new ManualClock(), log: quiet, metrics, sink: { report: async () => {} } });
  const ids = Array.from({ length: 1_000 }, () => [usage.nextId(), other.nextId()]).flat();
  expect(new Set(ids).size).toBe(2_000);
  for (const id of ids) expect(id.length).toBeLessThanOrEqual(24);
});

test('a batch is bounded: of many paths the rest are one record, of many others the rest are counted', async () => {
  for (let i = 0; i < 600; i += 1) usage.record({ ...USE, path: `/${word(i)}` });
  for (let i = 0; i < 600; i += 1) usage.record({ ...USE, authority: `host-${i}.example.com:443` });
  await usage.flush();
  const [report] = reports;
  expect(report!.records.length).toBe(1_024);
  expect(report!.records.find((record) => record.path === '*')).toMatchObject({ count: 88 });
  await usage.flush();
  const told = reports.flatMap(({ records }) => records).reduce((sum, { count }) => sum + count, 0);
  const dropped = reports.reduce((sum, one) => sum + one.dropped, 0);
  expect([told + dropped, metrics.usageDropped]).toEqual([1_200, dropped]);
  expect(dropped).toBeGreaterThan(0);
});

test('what an agent makes as long as it likes is cut to what the store takes', async () => {
  usage.record({ ...USE, path: `/${'p'.repeat(5_000)}`, method: 'M'.repeat(40), authority: 'h'.repeat(400) });
  await usage.flush();
  expect(reports.length).toBe(1);
});

test('a report is tried twice; then its uses are counted as dropped in the next one', async () => {
  failures = 1;
  usage.record(USE);
  await usage.flush();
  expect(reports).toMatchObject([{ records: [{ count: 1 }], dropped: 0 }]);
  failures = 2;
  usage.record(USE);
  usage.record(USE);
  await usage.flush();
  expect(reports.length).toBe(1);
  usage.record(USE);
  await usage.flush();
  expect(reports[1]).toMatchObject({ records: [{ count: 1 }], dropped: 2 });
  expect(metrics.usageDropped).toBe(2);
});

test('what is used while a report is on its way comes with the next one', async () => {
  failures = 1;
  usage.record(USE);
  const first = usage.flush();
  await settled();
  usage.record({ ...USE, path: '/second' });
  await first;
  await usage.flush();
  expect(reports.map(({ records }) => records.map(({ path }) => path))).toEqual([['/v1/models'], ['/second']]);
});

test('each request is counted by what became of it', () => {
  usage.record(USE);
  usage.record({ ...USE, tunnel: true });
  usage.record({ ...USE, status: 403, refusal: 'RuleDenied' });
  const text = metrics.render({ leases: { held: 0, waiting: 0 }, ready: true, upstreams: { idle: 0, active: 0 } });
  expect(text).toContain('sidekey_requests_total{outcome="passed"} 1\n');
  expect(text).toContain('sidekey_requests_total{outcome="tunnel"} 1\n');
  expect(text).toContain('sidekey_requests_total{outcome="refused"} 1\n');
  expect(text).toContain('sidekey_refusals_total{code="RuleDenied"} 1\n');
});
