import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CredentialRecord } from '../../api/protocol.ts';
import { frameOf, TestCore } from '../testing/core.ts';
import { credentialRecord } from '../testing/records.ts';

let core: TestCore;
beforeEach(async () => {
  core = await TestCore.open();
});
afterEach(() => core.remove());

const KEY = 'default/key';
const apply = (changes: Partial<CredentialRecord> = {}) =>
  core.store.objects.applyCredential(KEY, credentialRecord(changes), 'test');
const put = (value: string) => core.store.materials.put(KEY, frameOf(value), 'test');
const set = (value: string) => core.store.materials.set(KEY, frameOf(value), 'test');
const code = (expected: string) => expect.objectContaining({ code: expected });
const GENERATED = {
  source: 'generated',
  generated: { bytes: 32, encoding: 'Hex', rotateSeconds: 100, overlapSeconds: 10 },
} as const;
const revealed = async () => {
  const { frame, version } = await core.store.materials.reveal(KEY, 'test');
  return { value: frame.toString('latin1'), version };
};

test('versions count up; identical material keeps its version', async () => {
  await apply();
  expect([await put('a'), await put('a'), await put('b'), await put('a')].map((stored) => stored.version)).toEqual([
    1, 1, 2, 3,
  ]);
});

test('two writers at once get two versions', async () => {
  await apply();
  const versions = (await Promise.all([put('a'), put('b'), put('c')])).map((stored) => stored.version);
  expect(versions).toEqual([1, 2, 3]);
});

test('versions never go back: not by removal, not by deleting the Credential, not by a restart', async () => {
  await apply({ source: 'store' });
  expect((await set('a')).version).toBe(1);
  await core.store.materials.remove(KEY, 'test');
  expect(core.store.state.versionOf(KEY)).toBe(0);
  await core.reopen();
  expect((await set('a')).version).toBe(2);
  await core.store.objects.removeCredential(KEY, 'test');
  await core.reopen();
  expect((await set('b')).version).toBe(3);
});

test('a replaced version is deleted', async () => {
  await apply();
  await put('a');
  await put('b');
  expect(await core.offline((db) => db.prepare('SELECT version FROM materials').all())).toEqual([{ version: 2 }]);
});

test('the operator writes only what has source secret, the owner only what has source store', async () => {
  await expect(put('a')).rejects.toEqual(code('NotFound'));
  await apply({ source: 'store' });
  await expect(put('a')).rejects.toEqual(code('WrongSource'));
  await apply({ source: 'secret' });
  await expect(set('a')).rejects.toEqual(code('WrongSource'));
  await apply(GENERATED);
  await expect(put('a')).rejects.toEqual(code('WrongSource'));
  await expect(set('a')).rejects.toEqual(code('WrongSource'));
});

test('material may be set before there is a Credential, and is in force once one with source store comes', async () => {
  expect(await set('early')).toMatchObject({ version: 1 });
  expect(await apply({ source: 'store' })).toMatchObject({ version: 1, fields: ['value'] });
});

test('material of one source is not given out under another, and is back with its own', async () => {
  await apply({ source: 'store' });
  await set('mine');
  expect(await apply({ source: 'secret' })).toMatchObject({ version: 0, fields: [] });
  expect(await apply({ source: 'store' })).toMatchObject({ version: 1 });
  await apply({ source: 'secret' });
  expect(await put('mine')).toMatchObject({ version: 2 });
});

test('deleting a Credential deletes its material, but not what the owner has set by hand', async () => {
  await apply();
  await put('a');
  await core.store.objects.removeCredential(KEY, 'test');
  expect(core.store.state.materials.get(KEY)).toBeUndefined();
  await set('by hand');
  await apply({ source: 'store' });
  await core.store.objects.removeCredential(KEY, 'test');
  expect(core.store.state.materials.get(KEY)).toMatchObject({ origin: 'store' });
});

test('generated material is there at once, can be read back, and is rotated in its time', async () => {
  expect(await apply(GENERATED)).toMatchObject({ version: 1 });
  const first = await revealed();
  expect(await apply(GENERATED)).toMatchObject({ version: 1 });
  core.clock.advance(99);
  await core.store.tick();
  expect(await revealed()).toEqual(first);
  core.clock.advance(1);
  await core.store.tick();
  const second = await revealed();
  expect(second.version).toBe(2);
  expect(second.value).not.toBe(first.value);
});

test('the version before a rotation stays for the overlap and no longer', async () => {
  const versions = () =>
    core.offline((db) =>
      db
        .prepare('SELECT version FROM materials')
        .all()
        .map((row) => row.version),
    );
  await apply(GENERATED);
  core.clock.advance(100);
  await core.store.tick();
  expect(await versions()).toEqual([1, 2]);
  core.clock.advance(9);
  await core.store.tick();
  expect(await versions()).toEqual([1, 2]);
  core.clock.advance(1);
  await core.store.tick();
  expect(await versions()).toEqual([2]);
});

test('a wall clock that jumps neither rotates early nor stops the rotation', async () => {
  await apply(GENERATED);
  core.clock.wallMs += 86_400_000;
  await core.store.tick();
  await apply({ ...GENERATED, leaseSeconds: 60 });
  await core.store.tick();
  expect(core.store.state.versionOf(KEY)).toBe(1);
  core.clock.wallMs -= 30 * 86_400_000;
  core.clock.advance(100);
  await core.store.tick();
  expect(core.store.state.versionOf(KEY)).toBe(2);
});

test('a rotation that fell due while the store was down happens at its start', async () => {
  await apply(GENERATED);
  core.clock.advance(1000);
  await core.reopen();
  await core.store.tick();
  expect(core.store.state.versionOf(KEY)).toBe(2);
});

test('only generated material can be read back, and that is on record', async () => {
  await apply();
  await put('a');
  await expect(core.store.materials.reveal(KEY, 'test')).rejects.toEqual(code('WrongSource'));
  await apply(GENERATED);
  await core.store.materials.reveal(KEY, 'test');
  const entries = await core.store.repository.transaction((tx) => tx.audit.entries('store', 0, 100));
  expect(entries.at(-1)?.event).toEqual({ kind: 'material.revealed', credential: KEY, version: 2, by: 'test' });
});
