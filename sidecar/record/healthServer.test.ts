import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HealthServer } from './healthServer.ts';

let server: HealthServer;
let port: number;
let reason: string | undefined;

beforeEach(async () => {
  reason = undefined;
  server = new HealthServer({ unready: () => reason, metrics: () => 'sidekey_ready 1\n' });
  port = await server.listen(0, '127.0.0.1');
});
afterEach(() => server.close());

const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init);

test('a probe hears whether the sidecar is ready, and why not', async () => {
  expect((await get('/healthz')).status).toBe(200);
  expect((await get('/readyz')).status).toBe(200);
  reason = 'the store has not said yet what this session may use';
  const answer = await get('/readyz');
  expect([answer.status, await answer.json()]).toEqual([503, { ready: false, reason }]);
  expect((await get('/healthz')).status).toBe(200);
});

test('a scraper gets the metrics', async () => {
  const answer = await get('/metrics');
  expect(answer.headers.get('content-type')).toContain('version=0.0.4');
  expect(await answer.text()).toBe('sidekey_ready 1\n');
});

test('nothing else is answered', async () => {
  expect((await get('/')).status).toBe(404);
  expect((await get('/healthz', { method: 'POST', body: 'x' })).status).toBe(405);
});

test('bytes that are no HTTP get a 400, slow and many ones are cut', async () => {
  const socket = connect(port, '127.0.0.1').on('error', () => {});
  socket.write(Buffer.from([0x16, 0x03, 0x01, 0x0a]));
  const [bytes] = await once(socket, 'data');
  expect(String(bytes)).toMatch(/^HTTP\/1\.1 400 /);
  const many = Array.from({ length: 80 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  await Promise.all(many.slice(64).map((one) => once(one, 'close')));
  for (const one of many) one.destroy();
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect((await get('/healthz')).status).toBe(200);
});
