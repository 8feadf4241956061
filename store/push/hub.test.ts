import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CredentialRecord, IntegrationRecord, ObjectEvent, SessionEvent } from '../../api/protocol.ts';
import { frameOf, TestCore } from '../testing/core.ts';
import { credentialRecord, integrationRecord, session } from '../testing/records.ts';
import { NdjsonStream } from './ndjsonStream.ts';

const LAG_LIMIT_BYTES = 64 * 1024;
let core: TestCore;
let open: (stream: NdjsonStream) => void;
const server = createServer((_request, response) => open(new NdjsonStream(response, LAG_LIMIT_BYTES)));

beforeEach(async () => {
  core = await TestCore.open({ streamsPerSession: 2 });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await core.remove();
});

async function connect(opened: (stream: NdjsonStream) => void): Promise<IncomingMessage> {
  open = opened;
  const request = get({ port: (server.address() as AddressInfo).port, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response.on('error', () => {});
}

async function read<Event = SessionEvent>(opened: (stream: NdjsonStream) => void) {
  const lines = createInterface({ input: await connect(opened) })[Symbol.asyncIterator]();
  return async (): Promise<Event | undefined> => {
    for (;;) {
      const { done, value } = await lines.next();
      if (done) return undefined;
      const event = JSON.parse(value);
      if (event.type !== 'heartbeat') return event;
    }
  };
}

const sidecar = (of = session()) => read((stream) => core.store.hub.openSession(of, stream));
const put = (value: string) => core.store.materials.put('default/key', frameOf(value), 'test');
const applyCredential = (changes: Partial<CredentialRecord> = {}, name = 'key') =>
  core.store.objects.applyCredential(`default/${name}`, credentialRecord(changes), 'test');
const applyIntegration = (changes: Partial<IntegrationRecord> = {}, name = 'example') =>
  core.store.objects.applyIntegration(`default/${name}`, integrationRecord(changes), 'test');
const snapshotOf = (next: () => Promise<SessionEvent | undefined>) =>
  next().then((event) =>
    event?.type === 'snapshot' ? { grants: event.grants.map((g) => g.integration), versions: event.versions } : event,
  );

test('the first line is all that the session may use, with the versions in force', async () => {
  await applyCredential();
  await applyIntegration();
  await put('a');
  expect(await snapshotOf(await sidecar())).toEqual({ grants: ['default/example'], versions: { 'default/key': 1 } });
  const stranger = await sidecar(session({ id: 'other', tags: [] }));
  expect(await snapshotOf(stranger)).toEqual({ grants: [], versions: {} });
});

test('only what changed travels', async () => {
  await applyCredential();
  await applyIntegration();
  const next = await sidecar();
  await next();
  await applyIntegration();
  await applyCredential();
  await put('a');
  await put('a');
  await applyIntegration({ alias: 'example' });
  expect(await next()).toEqual({ type: 'version', credential: 'default/key', version: 1 });
  expect(await next()).toMatchObject({ type: 'grant', grant: { alias: 'example' } });
});

test('others learn nothing of what is not theirs', async () => {
  const other = await sidecar(session({ id: 'other', namespace: 'other' }));
  await other();
  await applyCredential({ consumerNamespaces: ['other'] });
  await applyIntegration();
  await put('a');
  await core.store.objects.applyIntegration('other/mine', integrationRecord(), 'test');
  expect(await other()).toMatchObject({ type: 'grant', grant: { integration: 'other/mine' } });
  expect(await other()).toEqual({ type: 'version', credential: 'default/key', version: 1 });
});

test('a grant that no longer holds is revoked: subjects, hosts or consumers changed, the credential gone', async () => {
  await applyCredential();
  await applyIntegration();
  const next = await sidecar();
  await next();
  const revoked = { type: 'revoke', integration: 'default/example' };
  const granted = { type: 'grant', grant: { integration: 'default/example' } };
  await applyIntegration({ subjects: { tags: ['others'] } });
  expect(await next()).toEqual(revoked);
  await applyIntegration();
  expect(await next()).toMatchObject(granted);
  expect(await next()).toMatchObject({ type: 'version', version: 0 });
  await applyCredential({ hosts: ['elsewhere.example.com'] });
  expect(await next()).toEqual(revoked);
  await applyCredential();
  expect(await next()).toMatchObject(granted);
  expect(await next()).toMatchObject({ type: 'version', version: 0 });
  await core.store.objects.removeCredential('default/key', 'test');
  expect(await next()).toEqual(revoked);
});

test('an Integration that moves to another credential is told with that version', async () => {
  await applyCredential();
  await applyCredential({}, 'second');
  await core.store.materials.put('default/second', frameOf('b'), 'test');
  await applyIntegration();
  const next = await sidecar();
  await next();
  await applyIntegration({ credential: 'default/second' });
  expect(await next()).toMatchObject({ type: 'grant', grant: { credential: 'default/second' } });
  expect(await next()).toEqual({ type: 'version', credential: 'default/second', version: 1 });
  await put('not told');
  await core.store.materials.put('default/second', frameOf('c'), 'test');
  expect(await next()).toEqual({ type: 'version', credential: 'default/second', version: 2 });
});

test('a reader that comes back is told what it missed, step by step', async () => {
  await applyCredential();
  await applyIntegration();
  const first = await read((stream) => core.store.hub.openSession(session(), stream, ''));
  const snapshot = await first();
  expect(snapshot).toMatchObject({ type: 'snapshot', cursor: expect.any(String) });
  const back = (cursor = snapshot!.cursor!) => read((stream) => core.store.hub.openSession(session(), stream, cursor));
  const unchanged = await back();
  expect(await unchanged()).toEqual({ type: 'resumed', cursor: snapshot!.cursor });
  await applyIntegration({ subjects: { tags: ['others'] } });
  await applyIntegration();
  const missed = await back();
  expect(await missed()).toEqual({ type: 'resumed' });
  const revoked = (await missed())!;
  expect(revoked).toEqual({ type: 'revoke', integration: 'default/example', cursor: expect.any(String) });
  expect(await missed()).toMatchObject({ type: 'grant' });
  const last = (await missed())!;
  expect(last).toMatchObject({ type: 'version', cursor: expect.any(String) });
  // In the middle of it, and at its end.
  const between = await back(revoked.cursor);
  expect([await between(), await between()]).toMatchObject([{ type: 'resumed' }, { type: 'grant' }]);
  expect(await (await back(last.cursor))()).toEqual({ type: 'resumed', cursor: last.cursor });
});

test('a cursor outlives the store where nothing has changed, and is worth nothing where something has', async () => {
  await applyCredential();
  await applyIntegration();
  const opened = (cursor: string, of = session()) =>
    read((stream) => core.store.hub.openSession(of, stream, cursor)).then((next) => next());
  const { cursor } = (await opened(''))!;
  await core.reopen();
  expect(await opened(cursor!)).toMatchObject({ type: 'resumed', cursor: expect.any(String) });
  expect(await opened(cursor!, session({ id: 'other', tags: [] }))).toMatchObject({ type: 'snapshot' });
  await put('a');
  await core.reopen();
  expect(await opened(cursor!)).toMatchObject({ type: 'snapshot', versions: { 'default/key': 1 } });
  for (const wrong of ['nonsense', `${cursor}9`, '..', 'a.b.-1'])
    expect(await opened(wrong)).toMatchObject({ type: 'snapshot' });
});

test('whoever was away for too many changes is told everything anew', async () => {
  await applyCredential();
  const { cursor } = (await (await read((stream) => core.store.hub.openSession(session(), stream, '')))())!;
  for (let i = 0; i < 40; i += 1) await applyIntegration({ alias: `a${i}` });
  const next = await read((stream) => core.store.hub.openSession(session(), stream, cursor));
  expect(await next()).toMatchObject({ type: 'snapshot', grants: [{ alias: 'a39' }] });
});

test('a reader that does not ask for cursors gets none', async () => {
  await applyCredential();
  const next = await sidecar();
  expect(await next()).toEqual({ type: 'snapshot', grants: [], versions: {} });
  await applyIntegration();
  await next();
  expect(await next()).toEqual({ type: 'version', credential: 'default/key', version: 0 });
});

test('many sessions alike are told by one computation, and each hears it once', async () => {
  await applyCredential();
  const readers: Awaited<ReturnType<typeof sidecar>>[] = [];
  for (let i = 0; i < 300; i += 1) readers.push(await sidecar(session({ id: `s${i}` })));
  await Promise.all(readers.map((next) => next()));
  await applyIntegration();
  await put('a');
  for (const next of readers) {
    expect(await next()).toMatchObject({ type: 'grant' });
    expect(await next()).toMatchObject({ type: 'version', version: 0 });
    expect(await next()).toMatchObject({ type: 'version', version: 1 });
  }
});

test('removed material is version 0', async () => {
  await applyCredential({ source: 'store' });
  await core.store.materials.set('default/key', frameOf('a'), 'test');
  await applyIntegration();
  const next = await sidecar();
  await next();
  await core.store.materials.remove('default/key', 'test');
  expect(await next()).toEqual({ type: 'version', credential: 'default/key', version: 0 });
});

test('the end of a session is told and ends its streams', async () => {
  await core.store.repository.transaction((tx) => tx.sessions.put(session()));
  const next = await sidecar();
  await next();
  await core.store.sessions.end(session(), 'because');
  expect(await next()).toEqual({ type: 'end', reason: 'because' });
  expect(await next()).toBeUndefined();
  expect(core.store.hub.connected(session())).toBe(false);
});

test('of more streams than a session may have, the oldest ends', async () => {
  const [first, second, third] = [await sidecar(), await sidecar(), await sidecar()];
  await Promise.all([first(), second(), third()]);
  expect(await first()).toBeUndefined();
  await applyCredential();
  await applyIntegration();
  expect(await second()).toMatchObject({ type: 'grant' });
  expect(await third()).toMatchObject({ type: 'grant' });
});

test('a reader that does not read is cut off', async () => {
  await applyCredential();
  await applyIntegration();
  let stream: NdjsonStream | undefined;
  const response = await connect((opened) => {
    stream = opened;
    core.store.hub.openSession(session(), opened);
  });
  response.pause();
  for (let i = 0; i < 2_000 && !stream!.closed; i += 1)
    await applyIntegration({
      placeholder: `${i}`.padEnd(256, 'x'),
      rules: Array.from({ length: 32 }, () => ({
        action: 'Allow',
        paths: [{ type: 'Exact', value: `/${'p'.repeat(1000)}` }],
      })),
    });
  expect(stream!.closed).toBe(true);
  await until(() => !core.store.hub.connected(session()));
});

test('the operator is told what became of a credential', async () => {
  const next = await read<ObjectEvent>((stream) => core.store.hub.openOperator(stream));
  expect(await next()).toEqual({ type: 'ready' });
  await applyCredential();
  expect(await next()).toMatchObject({ type: 'credential', credential: { key: 'default/key', version: 0 } });
  await put('a');
  expect(await next()).toMatchObject({ type: 'credential', credential: { version: 1, fields: ['value'] } });
  await applyCredential({ maxUses: 1 });
  expect(await next()).toMatchObject({ type: 'credential', credential: { version: 1 } });
  await core.store.repository.transaction((tx) => tx.leases.tell({ credential: 'default/key', version: 1, count: 1 }));
  expect(await next()).toMatchObject({ type: 'credential', credential: { version: 1, usedUp: true } });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
