import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { KekSpec } from '../../api/bootstrap.ts';
import { decodeFields } from '../../api/fields.ts';
import type { KekStatus } from '../../api/kek.ts';
import { stateFiles } from '../../lib/stateDir.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { TransitDouble } from '../doubles/transit.ts';
import { admin, auditOf, json, material, SESSION, StoreClient } from './storeClient.ts';
import { StoreProcess } from './storeProcess.ts';

let dir: string;
let state: string;
let server: TransitDouble;
let transit: KekSpec;
const running: StoreProcess[] = [];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-sealed-'));
  state = join(dir, 'state');
  mkdirSync(state, { mode: 0o700 });
  server = await new TransitDouble().start();
  server.createKey('sidekey', { derived: true });
  writeFileSync(join(dir, 'token'), server.token);
  transit = { transit: { address: server.address, keyName: 'sidekey', tokenFile: join(dir, 'token') } };
});
afterEach(async () => {
  for (const store of running.splice(0)) await store.stop();
  expect(server.violations).toEqual([]);
  await server.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** Starts a store; `sealed` sees why whenever it says that it is. */
async function start(kek: KekSpec, sealed: (code: string) => void = () => {}): Promise<StoreProcess> {
  const store = await StoreProcess.start(state, { kek, sealed: ({ code }) => sealed(code) });
  running.push(store);
  return store;
}

/** A store that waits for its keys: its start, and a way to ask its admin socket. */
async function startSealed(kek: KekSpec) {
  const reasons: string[] = [];
  let started: StoreProcess | undefined;
  const starting = start(kek, (code) => reasons.push(code)).then((store) => {
    started = store;
    return store;
  });
  starting.catch(() => {});
  await expect
    .poll(() => existsSync(stateFiles(state).adminSocket) && reasons.length, { timeout: 10_000 })
    .toBeTruthy();
  return { starting, reasons, started: () => started !== undefined };
}

async function ask(path: string): Promise<{ status: number; retryAfter?: string; body: unknown }> {
  const socketPath = stateFiles(state).adminSocket;
  const call = request({ socketPath, path, agent: false }).end();
  const [response] = await once(call, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode, retryAfter: response.headers['retry-after'], body: JSON.parse(text) };
}

async function agent(store: StoreProcess, credentials = 1): Promise<StoreClient> {
  const operator = await StoreClient.join(store, { kind: 'operator' });
  for (let index = 0; index < credentials; index += 1) {
    await operator.call('PUT', `/v1/credentials/default/key-${index}`, json(credentialRecord()));
    const record = integrationRecord({ credential: `default/key-${index}` });
    await operator.call('PUT', `/v1/integrations/default/example-${index}`, json(record));
    await operator.call('PUT', `/v1/credentials/default/key-${index}/material`, material({ value: `value ${index}` }));
  }
  operator.close();
  return StoreClient.join(store, { kind: 'session', session: SESSION });
}
const lease = (sidecar: StoreClient, index = 0) =>
  sidecar.call('POST', '/v1/leases', json({ credential: `default/key-${index}` }));

const WAYS: [string, string, () => void | Promise<void>, () => unknown][] = [
  ['transit is down', 'KekUnreachable', () => server.stop(), () => server.start()],
  ['transit is sealed itself', 'KekServiceSealed', () => server.setSealed(true), () => server.setSealed(false)],
  [
    'the token is refused',
    'KekDenied',
    () => writeFileSync(join(dir, 'token'), 'hvs.expired'),
    () => writeFileSync(join(dir, 'token'), server.token),
  ],
];

test.each(WAYS)('a store starts sealed while %s, says %s, and goes on by itself', async (_what, code, spoil, mend) => {
  const first = await start(transit);
  const sidecar = await agent(first);
  await first.stop();
  await spoil();
  const { starting, reasons, started } = await startSealed(transit);
  expect((await ask('/v1/admin/kek')).body).toMatchObject({ sealed: { code }, keys: [] });
  const refused = await ask('/v1/admin/sessions');
  expect(refused).toMatchObject({
    status: 503,
    retryAfter: expect.stringMatching(/^\d$/),
    body: { code: 'StoreSealed' },
  });
  expect(started()).toBe(false);
  await mend();
  const store = await starting;
  expect(reasons).toEqual([code]);
  const again = new StoreClient(store, sidecar.answer, sidecar.tls);
  expect(
    decodeFields((await lease(again)).body)
      .get('value')
      ?.toString(),
  ).toBe('value 0');
  expect((await admin(store, 'GET', '/v1/admin/kek')).json<KekStatus>().sealed).toBeUndefined();
  again.close();
  sidecar.close();
});

test('a sealed store ends at SIGTERM of itself, as it must where it is the first process of a container', async () => {
  let exit: Promise<unknown[]> | undefined;
  const starting = StoreProcess.start(state, {
    kek: { secretDir: join(dir, 'secret') },
    sealed: (_reason, child) => {
      exit = once(child, 'exit');
      child.kill('SIGTERM');
    },
  });
  await expect(starting).rejects.toMatchObject({ code: 'NoAnswer' });
  expect(await exit).toEqual([0, null]);
});

test('a store waits sealed for a Secret that is not mounted yet, and for the right one', async () => {
  const secretDir = join(dir, 'secret');
  const mount = (name: string, key: Buffer) => {
    mkdirSync(join(dir, name));
    writeFileSync(join(dir, name, 'kek-1'), key, { mode: 0o400 });
    rmSync(secretDir, { recursive: true, force: true });
    renameSync(join(dir, name), secretDir);
  };
  const key = randomBytes(32);
  const { starting, reasons } = await startSealed({ secretDir });
  expect(reasons).toEqual(['KekMissing']);
  mount('right', key);
  await (await starting).stop();
  mount('wrong', randomBytes(32));
  const again = await startSealed({ secretDir });
  expect(again.reasons).toEqual(['KekMismatch']);
  mount('right again', key);
  await again.starting;
});

test('a store ends when its parent is gone, also while it is sealed', async () => {
  await server.stop();
  let child: Parameters<NonNullable<Parameters<typeof StoreProcess.start>[1]>['sealed'] & object>[1] | undefined;
  const starting = StoreProcess.start(state, {
    kek: transit,
    sealed: (_reason, process) => {
      child = process;
      (process.stdio[3] as NodeJS.WritableStream & { destroy(): void }).destroy();
    },
  });
  await expect(starting).rejects.toThrow();
  expect(child?.exitCode).toBe(0);
  await server.start();
});

test('when transit goes away under a running store, what it holds is leased on, the rest is 503 StoreSealed until it is back', async () => {
  const first = await start(transit);
  const before = await agent(first, 2);
  await first.stop();
  const store = await start(transit);
  const sidecar = new StoreClient(store, before.answer, before.tls);
  const events = await sidecar.events();
  expect((await events.next())?.type).toBe('snapshot');
  expect((await lease(sidecar, 0)).status).toBe(200);
  await server.stop();
  expect((await lease(sidecar, 0)).status).toBe(200);
  const refused = await lease(sidecar, 1);
  expect([refused.status, refused.headers['retry-after']]).toEqual([503, expect.stringMatching(/^\d$/)]);
  expect(refused.json()).toMatchObject({ code: 'StoreSealed' });
  expect(refused.body.toString()).not.toContain('127.0.0.1');
  // Known to be away: nobody waits for timeouts any more.
  const startedMs = performance.now();
  expect((await lease(sidecar, 1)).status).toBe(503);
  expect(performance.now() - startedMs).toBeLessThan(200);
  const { sealed } = (await admin(store, 'GET', '/v1/admin/kek')).json<KekStatus>();
  expect(sealed).toMatchObject({ code: 'KekUnreachable', message: expect.stringContaining('see to it') });
  // The session lives on: its leases are not revoked.
  expect((await admin(store, 'GET', '/v1/admin/sessions')).json<{ leases: number }[]>()[0]!.leases).toBe(2);
  await server.start();
  await expect.poll(async () => (await lease(sidecar, 1)).status, { timeout: 20_000 }).toBe(200);
  expect((await auditOf(store)).map(({ event }) => event.kind)).toContain('store.unsealed');
  events.response.destroy();
  sidecar.close();
  before.close();
});

test('a lease costs no call to the KMS while its data key is held', async () => {
  const store = await start(transit);
  const sidecar = await agent(store);
  await lease(sidecar);
  const before = server.requests.length;
  for (let index = 0; index < 50; index += 1) expect((await lease(sidecar)).status).toBe(200);
  expect(server.requests.slice(before).filter((line) => line.includes('/decrypt/'))).toEqual([]);
  sidecar.close();
});
