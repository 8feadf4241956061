import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { AuditEvent } from '../../api/admin.ts';
import { until } from '../../sidecar/link/testkit.ts';
import { auditOf } from '../store/storeClient.ts';
import { LOOPBACK, SidecarProcess, type SidecarProcessOptions } from './sidecarProcess.ts';
import { TestStore } from './testStore.ts';
import { TestUpstream } from './upstream.ts';

const SECRET = 'sk-the-real-key-of-the-test';
let store: TestStore;
let upstream: TestUpstream;
/** Answers to `/stream`, which go on until a test ends them. */
let streams: ServerResponse[];
let sidecar: SidecarProcess;

beforeAll(async () => {
  store = await TestStore.start();
  upstream = await TestUpstream.start((request, response) => {
    if (request.url !== '/stream') response.end('hello');
    else {
      response.write('first ');
      streams.push(response);
    }
  });
});
afterAll(async () => {
  upstream?.stop();
  await store?.stop();
});
beforeEach(async () => {
  streams = [];
  upstream.seen.length = 0;
  sidecar = await start();
});
afterEach(() => sidecar.close());

function start(options: SidecarProcessOptions = {}): Promise<SidecarProcess> {
  return SidecarProcess.start({
    store,
    extraCaPem: upstream.caPem,
    credentials: { 'default/key': { hosts: [upstream.host], material: SECRET } },
    integrations: { 'default/example': { hosts: [upstream.host], alias: 'example', allowedNetworks: LOOPBACK } },
    ...options,
  });
}

const get = (path = '/') => fetch(`http://127.0.0.1:${sidecar.proxyPort}/example${path}`);
const refusalOf = async () => {
  const answer = await get();
  await answer.text();
  return answer.headers.get('sidekey-error');
};
const eventsOf = async (kind: string) =>
  (await auditOf(store.process)).map(({ event }) => event).filter((event) => event.kind === kind);

test('the first request carries the credential, and the store learns of its use', async () => {
  const answer = await get('/v1/models?all=true');
  expect([answer.status, await answer.text()]).toEqual([200, 'hello']);
  expect(upstream.seen).toEqual([`Bearer ${SECRET}`]);
  const uses = await until(async () => {
    const reported = (await eventsOf('usage.reported')).filter((event) => event.session !== undefined);
    return reported.length > 0 && reported.at(-1);
  });
  expect(uses).toMatchObject({
    records: [
      {
        method: 'GET',
        path: '/v1/models',
        status: 200,
        count: 1,
        integration: 'default/example',
        authority: upstream.host,
      },
    ],
  });
  expect((await sidecar.health('/readyz')).status).toBe(200);
  expect((await sidecar.health('/metrics')).body).toContain('sidekey_requests_total{outcome="credential"} 1\n');
});

test('the bundle that the agent trusts is there when the sidecar is ready, with both CAs and for everybody', () => {
  const bundle = readFileSync(sidecar.bundleFile, 'utf8');
  expect(bundle).toContain(sidecar.caPem.trim());
  expect(bundle).toContain(upstream.caPem.trim());
  expect(bundle.match(/BEGIN CERTIFICATE/g)!.length).toBeGreaterThan(10);
  expect(bundle).not.toContain('PRIVATE');
  expect(statSync(sidecar.bundleFile).mode & 0o777).toBe(0o644);
});

test('rotation is immediate', async () => {
  await get();
  for (const secret of ['sk-second-key', 'sk-third-key']) {
    await store.material(secret);
    await until(async () => {
      await get();
      return upstream.seen.at(-1) === `Bearer ${secret}`;
    });
  }
});

test('revocation is immediate, and cuts what runs', async () => {
  const running = await get('/stream');
  const reader = running.body!.getReader();
  await reader.read();
  const atMs = performance.now();
  await store.removeIntegration();
  await expect(reader.read()).rejects.toThrow();
  expect(performance.now() - atMs).toBeLessThan(1_000);
  expect(await refusalOf()).toBe('UnknownAlias');
});

test('when its session is ended the sidecar refuses everything, says so to probes, and lives on', async () => {
  await get();
  const [session] = (await store.sessions()).slice(-1);
  await store.endSession(session!.id);
  await until(async () => (await refusalOf()) === 'Revoked');
  expect(await sidecar.health('/readyz')).toMatchObject({ status: 503, body: expect.stringContaining('has ended') });
  expect((await sidecar.health('/healthz')).status).toBe(200);
});

test('a store that is killed is not missed, and found again', async () => {
  await get();
  await store.process.kill();
  expect((await get()).status).toBe(200);
  expect((await sidecar.health('/readyz')).status).toBe(200);
  await store.restart();
  await store.material('sk-after-the-restart');
  await until(async () => {
    await get();
    return upstream.seen.at(-1) === 'Bearer sk-after-the-restart';
  });
});

test('SIGTERM: what runs finishes, nothing new begins, the store is told of the last uses and of the end', async () => {
  const running = await get('/stream');
  const reader = running.body!.getReader();
  await reader.read();
  const [session] = (await store.sessions()).slice(-1);
  sidecar.child.kill('SIGTERM');
  await until(async () => (await sidecar.health('/readyz')).status === 503);
  await until(() =>
    get().then(
      () => false,
      () => true,
    ),
  );
  streams[0]!.end('last');
  expect(Buffer.from((await reader.read()).value!).toString()).toBe('last');
  expect(await sidecar.exited()).toBe(0);
  const ofSession = (event: AuditEvent) => event.session === session!.id;
  expect((await eventsOf('usage.reported')).filter(ofSession)).toMatchObject([
    { records: [{ path: '/stream', count: 1 }] },
  ]);
  expect((await eventsOf('session.ended')).filter(ofSession)).toMatchObject([{ reason: 'the session ended itself' }]);
});

test('a sidecar whose parent is gone ends', async () => {
  sidecar.abandon();
  expect(await sidecar.exited()).toBe(0);
  const lines = sidecar.log.join('').trim().split('\n');
  for (const line of lines)
    expect(JSON.parse(line)).toEqual(
      expect.objectContaining({ level: 30, time: expect.any(Number), name: 'sidecar', msg: expect.any(String) }),
    );
  expect(lines.at(-1)).toContain('"why":"the parent is gone","msg":"the sidecar stops"');
});

test('whatever bytes come in on its ports, it goes on', async () => {
  const bytes = [
    Buffer.alloc(70_000, 0xff),
    Buffer.from('GET / HTTP/1.1\r\nhost: example.sidekey.internal\r\n\r\nrubbish'),
    Buffer.from('CONNECT :: HTTP/1.1\r\n\r\n'),
    Buffer.from('\r\n'),
    Buffer.from([0x16, 3, 1, 0, 4, 1, 2, 3, 4]),
  ];
  for (const port of [sidecar.proxyPort, sidecar.healthPort]) {
    for (const one of bytes) {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      await once(socket, 'connect');
      socket.write(one);
      await new Promise((resolve) => setTimeout(resolve, 10));
      socket.resetAndDestroy();
    }
  }
  expect((await get()).status).toBe(200);
  expect(sidecar.running).toBe(true);
});

test('a start that cannot succeed says why, and leaves no session behind', async () => {
  const sessions = await store.sessions();
  const taken = createServer();
  await once(taken.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => void taken.close());
  const { port } = taken.address() as AddressInfo;
  await expect(start({ proxyPort: port })).rejects.toMatchObject({
    code: 'PortInUse',
    message: expect.stringContaining(`${port}`),
  });
  await expect(start({ healthPort: port })).rejects.toMatchObject({ code: 'PortInUse' });
  const missing = { bootstrap: { extraCaFile: '/nowhere/ca.pem' } };
  await expect(start(missing)).rejects.toMatchObject({
    code: 'ExtraCaInvalid',
    message: expect.stringContaining('/nowhere/ca.pem'),
  });
  const env = { HTTPS_PROXY: 'ftp://user:password-of-the-proxy@proxy' };
  await expect(start({ env })).rejects.toMatchObject({
    code: 'ProxyInvalid',
    message: expect.not.stringContaining('password-of'),
  });
  await expect(start({ extraCaPem: 'no certificate' })).rejects.toMatchObject({ code: 'ExtraCaInvalid' });
  await expect(start({ bootstrap: { joinToken: 'wrong' } })).rejects.toMatchObject({ code: 'JoinFailed' });
  await expect(start({ bootstrap: { bundleFile: '/nowhere/at/all' } })).rejects.toMatchObject({
    code: 'BundleUnwritable',
  });
  const invalid = start({ bootstrap: { egress: 'Ajar' as 'Open', joinToken: 'token-of-the-start' } });
  await expect(invalid).rejects.toMatchObject({
    code: 'BootstrapInvalid',
    message: expect.not.stringContaining('token-of'),
  });
  expect((await store.sessions()).length).toBe(sessions.length);
});
