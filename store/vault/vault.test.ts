import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Transaction } from '../persist/repository.ts';
import { ManualClock } from '../testing/clock.ts';
import { silentLog } from '../testing/core.ts';
import { FileKek } from './fileKek.ts';
import { KeyCache } from './keyCache.ts';
import { Keyring } from './keyring.ts';
import { Vault } from './vault.ts';

const frame = Buffer.from('\x05value\x00\x00\x00\x06secret');
/** A database that does not say which KEK is in force. */
const tx = { meta: { get: async () => undefined } } as unknown as Transaction;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-vault-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function newVault(name: string): Vault {
  const file = join(dir, name);
  writeFileSync(file, randomBytes(32).toString('base64'), { mode: 0o600 });
  const kek = new FileKek(file);
  const clock = new ManualClock();
  const keyring = new Keyring({ clock, log: silentLog, current: kek.keys[0]!.id });
  keyring.add({ file }, kek);
  return new Vault({ keyring, cache: new KeyCache({ clock, seconds: 60, limit: 10 }) });
}

async function sealedOnce(credential = 'default/key', version = 3) {
  const vault = newVault('kek');
  const dataKey = await vault.newDataKey(tx, credential);
  return { vault, dataKey, sealed: await vault.sealMaterial(dataKey, credential, version, frame) };
}

test('gives back what it sealed', async () => {
  const { vault, dataKey, sealed } = await sealedOnce();
  expect(await vault.openMaterial(dataKey, 'default/key', 3, sealed)).toEqual(frame);
  expect(sealed.includes('secret')).toBe(false);
});

test('ciphertext flipped is refused', async () => {
  const { vault, dataKey, sealed } = await sealedOnce();
  sealed[20]! ^= 1;
  await expect(vault.openMaterial(dataKey, 'default/key', 3, sealed)).rejects.toThrow();
});

test('ciphertext moved to another credential is refused, with its data key too', async () => {
  const { vault, dataKey, sealed } = await sealedOnce('default/mine');
  await expect(vault.openMaterial(dataKey, 'default/theirs', 3, sealed)).rejects.toThrow();
  const theirs = await vault.newDataKey(tx, 'default/theirs');
  await expect(vault.openMaterial(theirs, 'default/theirs', 3, sealed)).rejects.toThrow();
});

test('ciphertext of an older version in the place of a newer one is refused', async () => {
  const { vault, dataKey } = await sealedOnce();
  const older = await vault.sealMaterial(dataKey, 'default/key', 2, frame);
  await expect(vault.openMaterial(dataKey, 'default/key', 3, older)).rejects.toThrow();
});

test('names cannot be shifted between the parts of what is authenticated', async () => {
  const { vault, dataKey, sealed } = await sealedOnce('default/key1', 1);
  await expect(vault.openMaterial(dataKey, 'default/key', 11, sealed)).rejects.toThrow();
});

test('another KEK opens nothing and has another id', async () => {
  const { vault, dataKey, sealed } = await sealedOnce();
  const other = newVault('other');
  expect(other.kekId).not.toBe(vault.kekId);
  expect(await vault.opens(dataKey, 'default/key')).toBe(true);
  expect(await other.opens(dataKey, 'default/key')).toBe(false);
  expect(await other.opens({ ...dataKey, kekId: other.kekId }, 'default/key')).toBe(false);
  await expect(other.openMaterial(dataKey, 'default/key', 3, sealed)).rejects.toThrow();
});

test('an own key opens by its name alone, and says which KEK it is under', async () => {
  const { vault } = await sealedOnce();
  const key = randomBytes(32);
  const sealed = await vault.sealOwn('ca key', key);
  expect(sealed.includes(vault.kekId)).toBe(true);
  expect(await vault.openOwn('ca key', sealed)).toEqual(key);
  await expect(vault.openOwn('audit key', sealed)).rejects.toEqual(expect.objectContaining({ code: 'KekRefused' }));
});
