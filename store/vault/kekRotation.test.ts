import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TransitDouble } from '../../test/doubles/transit.ts';
import { frameOf, TestCore } from '../testing/core.ts';
import { credentialRecord } from '../testing/records.ts';

const CREDENTIALS = 30;
let dir: string;
let server: TransitDouble;
let core: TestCore | undefined;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-rotation-'));
  server = await new TransitDouble().start();
  server.createKey('sidekey', { derived: true });
  writeFileSync(join(dir, 'token'), server.token);
});
afterEach(async () => {
  await core?.remove();
  core = undefined;
  expect(server.violations).toEqual([]);
  await server.stop();
  rmSync(dir, { recursive: true, force: true });
});

const transit = () => ({
  transit: { address: server.address, keyName: 'sidekey', tokenFile: join(dir, 'token') },
});
const key = (index: number) => `default/key-${index}`;
const value = (index: number) => `value of ${index}`;

async function filled(...opening: Parameters<typeof TestCore.open>): Promise<TestCore> {
  core = await TestCore.open({ kekRotationBatch: 7, ...opening[0] }, opening[1]);
  for (let index = 0; index < CREDENTIALS; index += 1) {
    await core.store.objects.applyCredential(key(index), credentialRecord(), 'test');
    await core.store.materials.put(key(index), frameOf(value(index)), 'test');
  }
  return core;
}

async function readAll({ store }: TestCore): Promise<string[]> {
  const values: string[] = [];
  for (let index = 0; index < CREDENTIALS; index += 1) {
    const { frame } = await store.repository.transaction((tx) => store.materials.openInForce(tx, key(index), 'secret'));
    values.push(frame.toString('latin1', 10));
  }
  return values;
}
const all = Array.from({ length: CREDENTIALS }, (_, index) => value(index));

async function rotated(one: TestCore, to?: Parameters<typeof one.store.kek.start>[0]) {
  await one.store.kek.start(to, 'owner');
  await one.store.kek.settled();
  return one.store.kek.status();
}
async function eventsOf({ store }: TestCore, prefix: string) {
  const entries = await store.repository.transaction((tx) => tx.audit.entries(store.repository.chain, 0, 10_000));
  return entries.map(({ event }) => event).filter((event) => event.kind.startsWith(prefix));
}

test('rotates within the key file: all is under the new key, the old one is gone, nothing else has changed', async () => {
  const one = await filled();
  const before = (await one.store.kek.status()).keys;
  expect(before).toEqual([expect.objectContaining({ current: true, dataKeys: CREDENTIALS, kind: 'file' })]);
  const { keys, rotation } = await rotated(one);
  expect(rotation).toBeUndefined();
  expect(keys).toEqual([
    expect.objectContaining({ current: true, dataKeys: CREDENTIALS, ownKeys: before[0]!.ownKeys }),
  ]);
  expect(keys[0]!.id).not.toBe(before[0]!.id);
  expect(await readAll(one)).toEqual(all);
  expect(statSync(one.files.kek).mode & 0o777).toBe(0o600);
  expect(readFileSync(one.files.kek, 'latin1')).not.toContain(before[0]!.id);
  expect(existsSync(`${one.files.kek}.previous`)).toBe(false);
  await one.reopen();
  expect(await readAll(one)).toEqual(all);
  expect((await one.store.kek.status()).keys).toEqual(keys);
});

test('is on record with its counts', async () => {
  const one = await filled();
  const { id: from, ownKeys } = (await one.store.kek.status()).keys[0]!;
  const { id: to } = (await rotated(one)).keys[0]!;
  expect(await eventsOf(one, 'kek.')).toEqual([
    { kind: 'kek.rotation.started', from, to, dataKeys: CREDENTIALS, ownKeys, by: 'owner' },
    { kind: 'kek.rotation.finished', from, to, dataKeys: CREDENTIALS, ownKeys, damaged: 0 },
  ]);
});

test('while it goes on the old key wraps nothing new, leases and writes go on, and a second request joins it', async () => {
  const one = await filled({ kekRotationBatch: 1 });
  const { rotation } = await one.store.kek.start(undefined, 'owner');
  const again = await one.store.kek.start(undefined, 'owner');
  expect(again.rotation?.to).toBe(rotation!.to);
  const wrapped: string[] = [];
  for (let index = 0; (await one.store.kek.progress()) !== undefined; index += 1) {
    expect((await readAll(one))[index % CREDENTIALS]).toBe(value(index % CREDENTIALS));
    const name = `default/new-${index}`;
    await one.store.objects.applyCredential(name, credentialRecord(), 'test');
    await one.store.materials.put(name, frameOf('new'), 'test');
    wrapped.push((await one.store.repository.transaction((tx) => tx.dataKeys.get(name)))!.kekId);
  }
  await one.store.kek.settled();
  expect(wrapped.length).toBeGreaterThan(0);
  expect(new Set(wrapped)).toEqual(new Set([rotation!.to]));
  expect((await eventsOf(one, 'kek.rotation')).length).toBe(2);
  expect(await readAll(one)).toEqual(all);
});

test('the key file holds both keys until it is done, with the file as it was beside it', async () => {
  const one = await filled({ kekRotationBatch: 1 });
  const before = readFileSync(one.files.kek, 'latin1');
  const { keys } = await one.store.kek.start(undefined, 'owner');
  const during = readFileSync(one.files.kek, 'latin1');
  for (const { id } of keys) expect(during).toContain(id);
  expect(keys.length).toBe(2);
  expect(readFileSync(`${one.files.kek}.previous`, 'latin1')).toBe(before);
  expect(statSync(`${one.files.kek}.previous`).mode & 0o777).toBe(0o600);
  await one.store.kek.settled();
});

test('a store that was closed in the middle goes on with it when it is opened again', async () => {
  const one = await filled({ kekRotationBatch: 1 });
  await one.store.kek.start(undefined, 'owner');
  await one.reopen();
  await one.store.kek.settled();
  const { keys } = await one.store.kek.status();
  expect(keys).toEqual([expect.objectContaining({ current: true, dataKeys: CREDENTIALS })]);
  expect((await eventsOf(one, 'kek.rotation')).map(({ kind }) => kind)).toEqual([
    'kek.rotation.started',
    'kek.rotation.resumed',
    'kek.rotation.finished',
  ]);
  expect(await readAll(one)).toEqual(all);
});

test('a key that was made for a rotation which never began is taken for the next one, or forgotten', async () => {
  const one = await filled();
  const file = () => one.store.vault.keyring.providers[0]!.provider;
  const made = await file().makeKey!();
  expect((await rotated(one)).keys.map(({ id }) => id)).toEqual([made]);
  await file().makeKey!();
  await one.reopen();
  expect((await one.store.kek.status()).keys.map(({ id }) => id)).toEqual([made]);
});

test('moves from the key file to transit and back, each time leaving nothing behind', async () => {
  const one = await filled();
  const there = await rotated(one, transit());
  expect(there.keys).toEqual([
    expect.objectContaining({
      id: 'transit:transit/sidekey:v1',
      kind: 'transit',
      dataKeys: CREDENTIALS,
      current: true,
    }),
  ]);
  expect(readFileSync(one.files.kek, 'latin1').trim().split('\n').length).toBe(1);
  expect(await readAll(one)).toEqual(all);
  await one.reopen();
  expect(await readAll(one)).toEqual(all);
  const back = await rotated(one, { file: one.files.kek });
  expect(back.keys.filter(({ dataKeys }) => dataKeys > 0)).toEqual([
    expect.objectContaining({ kind: 'file', dataKeys: CREDENTIALS, current: true }),
  ]);
  await server.stop();
  await one.reopen();
  expect(await readAll(one)).toEqual(all);
  await server.start();
});

test('transit rotates its key and wraps all anew; the old version can then be forbidden', async () => {
  const one = await filled({}, transit());
  const { keys } = await rotated(one);
  expect(keys.map(({ id, dataKeys }) => [id, dataKeys])).toEqual([
    ['transit:transit/sidekey:v1', 0],
    ['transit:transit/sidekey:v2', CREDENTIALS],
  ]);
  server.configure('sidekey', { minDecryption: 2, minEncryption: 2 });
  await one.reopen();
  expect(await readAll(one)).toEqual(all);
});

test('a version that transit made by itself wraps what is new; kek rotate brings the rest over and makes no other', async () => {
  const one = await filled({}, transit());
  server.rotateKey('sidekey');
  one.clock.advance(20);
  await one.store.tick();
  await one.store.objects.applyCredential('default/new', credentialRecord(), 'test');
  await one.store.materials.put('default/new', frameOf('new'), 'test');
  const counts = async () => (await one.store.kek.status()).keys.map(({ id, dataKeys }) => [id.at(-1), dataKeys]);
  expect(await counts()).toEqual([
    ['1', CREDENTIALS],
    ['2', 1],
  ]);
  expect(await eventsOf(one, 'kek.changed')).toMatchObject([{ to: 'transit:transit/sidekey:v2' }]);
  await rotated(one);
  expect(await counts()).toEqual([
    ['1', 0],
    ['2', CREDENTIALS + 1],
  ]);
});

test('a Secret rotates by a newer key that is put into it, and says so while there is none', async () => {
  const secretDir = join(dir, 'secret');
  mkdirSync(secretDir);
  writeFileSync(join(secretDir, 'kek-9'), randomBytes(32), { mode: 0o400 });
  const one = await filled({}, { secretDir });
  await expect(one.store.kek.start(undefined, 'owner')).rejects.toEqual(
    expect.objectContaining({ code: 'KekNotRotatable', message: expect.stringContaining('add one to the Secret') }),
  );
  writeFileSync(join(secretDir, 'kek-10'), randomBytes(32).toString('base64'), { mode: 0o400 });
  await one.store.tick();
  const { keys } = await rotated(one);
  expect(keys.map(({ dataKeys, current }) => [dataKeys, current])).toEqual([
    [0, false],
    [CREDENTIALS, true],
  ]);
  rmSync(join(secretDir, 'kek-9'));
  await one.reopen();
  expect(await readAll(one)).toEqual(all);
});

test('a rotation waits while the new place is away, and goes on when it is back', async () => {
  const one = await filled({ kekRotationBatch: 1 });
  await one.store.kek.start(transit(), 'owner');
  await server.stop();
  await expect
    .poll(async () => (await one.store.kek.progress())?.problem, { timeout: 15_000 })
    .toContain('does not answer');
  expect((await one.store.kek.status()).sealed).toMatchObject({ code: 'KekUnreachable' });
  await server.start();
  one.clock.advance(60);
  await one.store.tick();
  await expect.poll(() => one.store.kek.progress(), { timeout: 15_000 }).toBeUndefined();
  await one.store.kek.settled();
  expect(await readAll(one)).toEqual(all);
});

test('a place that cannot be used is refused before anything is changed', async () => {
  const one = await filled();
  server.permits = () => false;
  await expect(one.store.kek.start(transit(), 'owner')).rejects.toEqual(
    expect.objectContaining({ code: 'KekNotRotatable', message: expect.stringContaining('does not permit') }),
  );
  expect(await one.store.kek.progress()).toBeUndefined();
  expect(await eventsOf(one, 'kek.')).toEqual([]);
});

test('a data key that was damaged before does not hold a rotation up, and is counted', async () => {
  const one = await filled();
  await one.offline((db) => db.prepare('UPDATE data_keys SET wrapped = zeroblob(61) WHERE credential = ?').run(key(3)));
  await rotated(one);
  expect((await eventsOf(one, 'kek.rotation.finished'))[0]).toMatchObject({ dataKeys: CREDENTIALS - 1, damaged: 1 });
  await one.store.materials.put(key(3), frameOf(value(3)), 'test');
  expect(await readAll(one)).toEqual(all);
});

test('whoever can write to the database cannot name a server that keys and tokens go to', async () => {
  const one = await filled();
  const places = JSON.stringify([transit()]);
  await one.offline((db) => {
    for (const name of ['kek in force', 'kek places', 'kek.places.json'])
      db.prepare('INSERT OR REPLACE INTO meta VALUES (?, ?)').run(name, Buffer.from(places));
  });
  const moved = one.offline((db) =>
    db.prepare("UPDATE meta SET value = ? WHERE name = 'kek id'").run(Buffer.from('transit:transit/sidekey:v1')),
  );
  await expect(moved).rejects.toEqual(expect.objectContaining({ code: 'KekMismatch' }));
  expect(server.requests).toEqual([]);
});
