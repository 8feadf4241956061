import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, createServer } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { JoinTokenAnswer } from '../../api/admin.ts';
import { STORE_DNS_NAME } from '../../api/protocol.ts';
import { systemClock } from '../../lib/clock.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { generateP256, issueCertificate, toPem } from '../../lib/x509.ts';
import { Connections } from '../../sidecar/link/connections.ts';
import { Identity } from '../../sidecar/link/identity.ts';
import { StoreReplicas } from '../../sidecar/link/storeReplicas.ts';
import { until } from '../../sidecar/link/testkit.ts';
import { RotatingClient } from '../../test/store/rotatingClient.ts';
import { admin, json, SESSION } from '../../test/store/storeClient.ts';
import { type RunningStore, startStore } from '../app.ts';
import { silentLog } from '../testing/core.ts';
import { ensureKekFile } from '../vault/kekFile.ts';

const CLIENTS = 20;

let dir: string;
let store: RunningStore;
let socket: { adminSocket: string };

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-ca-'));
  const files = stateFiles(join(dir, 'state'));
  ensureKekFile(files);
  socket = files;
  store = await startStore({
    bootstrap: { part: 'store', stateDir: files.dir, listenHost: '127.0.0.1', listenPort: 0 },
    clock: systemClock,
    log: silentLog,
    fatal: (error) => {
      throw error;
    },
    // A day in seconds: certificates live 15 s, the steps of a change of the root are at least 0.5 s apart.
    settings: {
      certificateSeconds: 15,
      caSettleSeconds: 0.5,
      renewSpreadSeconds: 0.5,
      tickMs: 50,
      usageBurst: 1000,
      usagePerSecond: 1000,
      streamsPerSession: 50,
    },
  });
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

const call = (method: string, path: string, body?: object) => admin(socket as never, method, path, body && json(body));
const status = async () => (await call('GET', '/v1/admin/ca')).json<{ rotation?: object; roots: { id: string }[] }>();

async function bootstrap() {
  const answer = await call('POST', '/v1/admin/join-tokens', { kind: 'session', session: SESSION });
  const { joinToken, trustBundlePem } = answer.json<JoinTokenAnswer>();
  return { storeUrl: store.storeUrl, trustBundlePem: trustBundlePem!, joinToken };
}

test('20 clients that connect all the time see a rotation of the intermediate and one of the root without a failure', async () => {
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, async () => RotatingClient.join(await bootstrap())),
  );
  const [before] = (await status()).roots;
  await call('POST', '/v1/admin/ca/rotate', {});
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await call('POST', '/v1/admin/ca/rotate', { root: true });
  const phases = new Set<string>();
  for (;;) {
    const { rotation } = (await status()) as { rotation?: { phase: string } };
    if (rotation === undefined) break;
    phases.add(rotation.phase);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const late = await RotatingClient.join(await bootstrap());
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await Promise.all([...clients, late].map((client) => client.stop()));
  const sum = (what: 'handshakes' | 'resumed' | 'requests') => clients.reduce((all, client) => all + client[what], 0);
  console.log(`handshakes ${sum('handshakes')}, of them resumed ${sum('resumed')}; requests ${sum('requests')}`);
  expect(clients.flatMap(({ failures }) => failures)).toEqual([]);
  expect(late.failures).toEqual([]);
  expect([...phases]).toEqual(['published', 'switched']);
  expect((await status()).roots.map(({ id }) => id)).not.toContain(before!.id);
  expect(sum('resumed')).toBeGreaterThan(100);
  expect(sum('handshakes')).toBeGreaterThan(500);
}, 60_000);

test('a session that ends is refused at once on a connection that is open', async () => {
  const identity = await Identity.join({
    clock: systemClock,
    log: silentLog,
    bootstrap: await bootstrap(),
    revoked: () => {},
  });
  await identity.client.report({ records: [], dropped: 0 });
  await call('DELETE', `/v1/admin/sessions/${identity.session.id}`);
  await expect(identity.client.report({ records: [], dropped: 0 })).rejects.toMatchObject({ code: 'IdentityRevoked' });
  identity.close();
});

test.each([
  ['a client certificate that claims the name of the store', { usages: ['clientAuth' as const] }],
  [
    'a client certificate',
    { dnsNames: [], uris: ['spiffe://sidekey.local/ns/a/sa/b'], usages: ['clientAuth' as const] },
  ],
  ['a certificate without a purpose in time that has passed', { notAfter: new Date(Date.now() - 60_000) }],
  ['a certificate that is not valid yet', { notBefore: new Date(Date.now() + 600_000) }],
])('a sidecar refuses a store that shows %s', async (_what, changes) => {
  const { privateKey, publicKey } = generateP256();
  const issuer = { commonName: 'CA', privateKey };
  const validity = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 3_600_000) };
  const ca = toPem(issueCertificate({ commonName: 'CA', publicKey, issuer, ...validity, ca: { pathLength: 1 } }).der);
  const own = generateP256();
  const { der } = issueCertificate({
    commonName: 'leaf',
    publicKey: own.publicKey,
    issuer,
    ...validity,
    dnsNames: [STORE_DNS_NAME],
    usages: ['serverAuth'],
    ...changes,
  });
  const key = own.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const server = createServer({ key, cert: toPem(der) }).listen(0, '127.0.0.1');
  await until(() => server.listening);
  const { port } = server.address() as AddressInfo;
  const connections = new Connections(new StoreReplicas([{ host: '127.0.0.1', port }]), createSecureContext({ ca }));
  const send = connections.send({ method: 'GET', path: '/' }, 2_000);
  await expect(send).rejects.toThrow(/purpose|altnames|expired|not yet valid/);
  connections.close();
  server.close();
});
