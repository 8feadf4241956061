import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { open, seal } from './envelope.ts';

/** The vectors of a CAVS response file: `name = value` lines, `FAIL` where decryption must refuse. */
function vectors(file: string): Record<string, string>[] {
  const text = readFileSync(new URL(`testdata/${file}`, import.meta.url), 'utf8');
  return text
    .split(/^(?=Count = )/m)
    .slice(1)
    .map((block) => ({
      ...Object.fromEntries([...block.matchAll(/^(\w+) = ?(.*)$/gm)].map(([, name, value]) => [name, value])),
      ...(/^FAIL$/m.test(block) && { fails: 'yes' }),
    }));
}
const bytes = (hex: string | undefined) => Buffer.from(hex ?? '', 'hex');
const LAYOUT = Buffer.of(1);

test('seals what the NIST vectors say (CAVS 14.0, AES-256-GCM)', () => {
  const all = vectors('gcmEncryptExtIV256.rsp');
  expect(all.length).toBe(75);
  for (const { Key, IV, PT, AAD, CT, Tag } of all) {
    const sealed = seal(bytes(Key), bytes(PT), bytes(AAD), bytes(IV));
    expect(sealed).toEqual(Buffer.concat([LAYOUT, bytes(IV), bytes(CT), bytes(Tag)]));
  }
});

test('opens or refuses as the NIST vectors say', () => {
  const all = vectors('gcmDecrypt256.rsp');
  expect(all.filter((vector) => vector.fails).length).toBe(50);
  for (const { Key, IV, PT, AAD, CT, Tag, fails } of all) {
    const sealed = Buffer.concat([LAYOUT, bytes(IV), bytes(CT), bytes(Tag)]);
    if (fails) expect(() => open(bytes(Key), sealed, bytes(AAD))).toThrow();
    else expect(open(bytes(Key), sealed, bytes(AAD))).toEqual(bytes(PT));
  }
});

test('refuses a sealed value in which any one bit is flipped', () => {
  const key = randomBytes(32);
  const aad = Buffer.from('row');
  const sealed = seal(key, Buffer.from('secret'), aad);
  for (let bit = 0; bit < sealed.length * 8; bit += 1) {
    const flipped = Buffer.from(sealed);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    expect(() => open(key, flipped, aad)).toThrow();
  }
  expect(() => open(key, sealed.subarray(0, 28), aad)).toThrow('not a sealed value');
});

test('never uses a nonce twice', () => {
  const key = randomBytes(32);
  const nonces = Array.from({ length: 1000 }, () =>
    seal(key, Buffer.alloc(0), Buffer.alloc(0)).subarray(1, 13).toString('hex'),
  );
  expect(new Set(nonces).size).toBe(1000);
});
