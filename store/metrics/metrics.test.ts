import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../lib/clock.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { startStore } from '../app.ts';
import { silentLog } from '../testing/core.ts';
import { ensureKekFile } from '../vault/kekFile.ts';
import { StoreMetrics } from './storeMetrics.ts';

const dirOf = () => {
  const dir = mkdtempSync(join(tmpdir(), 'sidekey-metrics-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};

function start(stateDir: string, more: { metricsPort?: number; kek?: { secretDir: string } } = { metricsPort: 0 }) {
  return startStore({
    bootstrap: { part: 'store', stateDir, listenHost: '127.0.0.1', listenPort: 0, ...more },
    clock: systemClock,
    log: silentLog,
    fatal: (error) => {
      throw error;
    },
  });
}

async function running() {
  const dir = dirOf();
  ensureKekFile(stateFiles(dir));
  const store = await start(dir);
  onTestFinished(() => store.close());
  return (path: string, method = 'GET') => fetch(`http://127.0.0.1:${store.metricsPort}${path}`, { method });
}

const value = (text: string, sample: string) =>
  Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${sample} `))
      ?.slice(sample.length + 1),
  );

test('a store that serves says that it is alive and ready, and who does the work that falls due', async () => {
  const get = await running();
  expect(await (await get('/healthz')).json()).toEqual({ alive: true });
  const ready = await get('/readyz');
  expect([ready.status, await ready.json()]).toMatchObject([200, { ready: true, degraded: [], database: true }]);
  expect((await get('/elsewhere')).status).toBe(404);
  expect((await get('/metrics', 'POST')).status).toBe(405);
});

test('a scrape tells of the store, and of when its certificates expire', async () => {
  const get = await running();
  const text = await (await get('/metrics')).text();
  expect(value(text, 'sidekey_store_ready')).toBe(1);
  expect(value(text, 'sidekey_store_sealed')).toBe(0);
  expect(value(text, 'sidekey_store_sessions')).toBe(0);
  expect(value(text, 'sidekey_store_audit_append_seconds_count')).toBeGreaterThan(0);
  const expires = value(text, 'sidekey_store_certificate_expires_at_seconds{certificate="server"}');
  expect(expires - Date.now() / 1000).toBeGreaterThan(3600);
  expect(text).toContain('process_resident_memory_bytes');
});

test('a store that starts sealed is alive, not ready, and says why', async () => {
  const dir = dirOf();
  const port = await freePort();
  const starting = start(dir, { metricsPort: port, kek: { secretDir: join(dir, 'keys') } }).catch((error) => error);
  const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`);
  const whySealed = async () => {
    const answer = await get('/readyz').catch(() => undefined);
    return ((await answer?.json()) as { sealed?: { code: string } } | undefined)?.sealed?.code;
  };
  await expect.poll(whySealed).toBe('KekMissing');
  expect((await get('/readyz')).status).toBe(503);
  expect((await get('/healthz')).status).toBe(200);
  expect(value(await (await get('/metrics')).text(), 'sidekey_store_sealed')).toBe(1);
  mkdirSync(join(dir, 'keys.new'));
  writeFileSync(join(dir, 'keys.new', 'kek-1'), randomBytes(32), { mode: 0o400 });
  renameSync(join(dir, 'keys.new'), join(dir, 'keys'));
  const store = await starting;
  onTestFinished(() => store.close());
  expect((await get('/readyz')).status).toBe(200);
});

test('without a port there are no metrics', async () => {
  const dir = dirOf();
  ensureKekFile(stateFiles(dir));
  const store = await start(dir, {});
  expect(store.metricsPort).toBeUndefined();
  await store.close();
});

test('requests and refusals are counted, streams do not count as slow requests', async () => {
  const metrics = new StoreMetrics();
  metrics.request('POST', '/v1/leases', 200, 0.004);
  metrics.request('POST', '/v1/leases', 403, 0.001);
  metrics.request('GET', '/v1/session/events', 200, 3_000);
  metrics.refused('NotGranted');
  const text = await metrics.registry.metrics();
  expect(value(text, 'sidekey_store_leases_total')).toBe(1);
  expect(value(text, 'sidekey_store_refusals_total{code="NotGranted"}')).toBe(1);
  expect(value(text, 'sidekey_store_request_duration_seconds_count{route="/v1/leases"}')).toBe(2);
  expect(text).not.toContain('_count{route="/v1/session/events"}');
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
