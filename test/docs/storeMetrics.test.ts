import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { systemClock } from '../../lib/clock.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { type RunningStore, startStore } from '../../store/app.ts';
import { silentLog } from '../../store/testing/core.ts';
import { ensureKekFile } from '../../store/vault/kekFile.ts';

const CHART = join(import.meta.dirname, '../../charts/sidekey');
const DASHBOARD = join(CHART, 'dashboards/sidekey-store.json');
const ALERTS = join(CHART, 'alerts/sidekey-store.yaml');
const PROMTOOL = '/usr/bin/promtool';
/** Made by Prometheus itself, for each target that it scrapes. */
const PROMETHEUS_OWN = new Set(['up']);

interface Rule {
  alert: string;
  expr: string;
  for: string;
  labels: { severity: string };
  annotations: { summary: string; description: string };
}
const rules: Rule[] = parse(readFileSync(ALERTS, 'utf8')).groups.flatMap((group: { rules: Rule[] }) => group.rules);
const dashboard = JSON.parse(readFileSync(DASHBOARD, 'utf8'));
const panels: { title: string; targets: { expr: string }[] }[] = dashboard.panels;
const expressions: [string, string][] = [
  ...rules.map(({ alert, expr }): [string, string] => [alert, expr]),
  ...panels.flatMap(({ title, targets }) => targets.map(({ expr }): [string, string] => [title, expr])),
];

let dir: string;
let store: RunningStore;
/** Name of a series → the labels that it was seen with, `le` too. */
const scraped = new Map<string, Map<string, Set<string>>>();

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-scrape-'));
  const files = stateFiles(dir);
  ensureKekFile(files);
  mkdirSync(dir, { recursive: true });
  const exports = [{ name: 'archive', file: { path: join(dir, 'audit.jsonl') } }];
  writeFileSync(files.auditConfig, JSON.stringify({ exports }));
  store = await startStore({
    bootstrap: { part: 'store', stateDir: dir, listenHost: '127.0.0.1', listenPort: 0, metricsPort: 0 },
    clock: systemClock,
    log: silentLog,
    fatal: (error) => {
      throw error;
    },
  });
  // Something that is refused, and something that is not.
  await ask(files.adminSocket, '/v1/admin/nothing');
  await ask(files.adminSocket, '/v1/admin/sessions');
  const text = await (await fetch(`http://127.0.0.1:${store.metricsPort}/metrics`)).text();
  for (const [, name, labels = ''] of text.matchAll(/^([a-z_]\w*)(?:\{(.*)\})? \S+$/gm)) {
    const known = scraped.get(name!) ?? new Map<string, Set<string>>();
    scraped.set(name!, known);
    for (const [, label, value] of labels.matchAll(/(\w+)="([^"]*)"/g))
      known.set(label!, (known.get(label!) ?? new Set()).add(value!));
  }
});
afterAll(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

test.each(expressions)('%s asks for series that a store has, by labels that they have', (_title, expr) => {
  const series = seriesOf(expr);
  expect(series.length).toBeGreaterThan(0);
  for (const { name, labels } of series) {
    if (PROMETHEUS_OWN.has(name)) continue;
    expect([...scraped.keys()]).toContain(name);
    // `job` and `instance` are added by Prometheus.
    for (const label of labels.filter((one) => one !== 'job' && one !== 'instance'))
      expect([...scraped.get(name)!.keys()]).toContain(label);
  }
});

test('each alert says how bad it is, for how long it has to be so, and what to do', () => {
  for (const rule of rules) {
    expect(rule.alert).toMatch(/^Sidekey[A-Z]\w+$/);
    expect(rule.for).toMatch(/^\d+[mh]$/);
    expect(['warning', 'critical']).toContain(rule.labels.severity);
    expect(rule.annotations.summary.length).toBeGreaterThan(10);
    expect(rule.annotations.description.length).toBeGreaterThan(20);
  }
  expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
});

test('each error code that an alert names is one of the store', async () => {
  const { STORE_ERRORS } = await import('../../store/errors.ts');
  const named = rules.flatMap(({ expr }) => /code=~?"([^"]+)"/.exec(expr)?.[1]?.split('|') ?? []);
  expect(named.length).toBeGreaterThan(0);
  for (const code of named) expect(Object.keys(STORE_ERRORS)).toContain(code);
});

test('promtool takes the rules, where it is installed', () => {
  if (existsSync(PROMTOOL))
    expect(execFileSync(PROMTOOL, ['check', 'rules', ALERTS], { encoding: 'utf8' })).toContain('SUCCESS');
  expect(rules.length).toBeGreaterThan(5);
});

test('no two panels of the dashboard overlap', () => {
  const places = dashboard.panels.map(({ gridPos }: { gridPos: object }) => gridPos) as Place[];
  for (const [i, a] of places.entries()) {
    expect(a.x + a.w).toBeLessThanOrEqual(24);
    for (const b of places.slice(i + 1))
      expect(a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h).toBe(false);
  }
});

interface Place {
  x: number;
  y: number;
  w: number;
  h: number;
}

/** What an expression asks for. */
function seriesOf(expr: string): { name: string; labels: string[] }[] {
  return [...expr.matchAll(/\b(up|(?:sidekey_store|process|nodejs)_\w+)(?:\{([^}]*)\})?/g)].map(
    ([, name, labels = '']) => ({
      name: name!,
      labels: [...labels.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label]) => label!),
    }),
  );
}

function ask(socketPath: string, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, agent: false }, (response) => response.resume().once('end', resolve))
      .on('error', reject)
      .end();
  });
}
