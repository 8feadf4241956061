import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { localKek } from './kek.ts';
import { Vault } from './vault.ts';

const frame = Buffer.from('\x05value\x00\x00\x00\x06secret');

async function sealedOnce(credential = 'default/key', version = 3) {
  const vault = new Vault(localKek(randomBytes(32)));
  const dataKey = await vault.newDataKey(credential);
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
  const theirs = await vault.newDataKey('default/theirs');
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
  const other = new Vault(localKek(randomBytes(32)));
  expect(other.kekId).not.toBe(vault.kekId);
  expect(await vault.opens(dataKey, 'default/key')).toBe(true);
  expect(await other.opens(dataKey, 'default/key')).toBe(false);
  await expect(other.openMaterial(dataKey, 'default/key', 3, sealed)).rejects.toThrow();
});
