import { expect, test } from 'vitest';
import { decodeFields } from '../../api/fields.ts';
import { generateFrame } from './generate.ts';

const generated = (bytes: number, encoding: 'Base64URL' | 'Hex' | 'Alphanumeric') =>
  decodeFields(generateFrame({ bytes, encoding })).get('value')!.toString('latin1');

test.each([
  ['Base64URL', 32, /^[A-Za-z0-9_-]{43}$/],
  ['Hex', 16, /^[0-9a-f]{32}$/],
  ['Alphanumeric', 32, /^[A-Za-z0-9]{43}$/],
  ['Alphanumeric', 128, /^[A-Za-z0-9]{172}$/],
] as const)('%s of %i bytes', (encoding, bytes, shape) => {
  expect(generated(bytes, encoding)).toMatch(shape);
  expect(generated(bytes, encoding)).not.toBe(generated(bytes, encoding));
});

test('every character of the alphabet is as likely as any other', () => {
  const counts = new Map<string, number>();
  for (let i = 0; i < 400; i += 1)
    for (const c of generated(128, 'Alphanumeric')) counts.set(c, (counts.get(c) ?? 0) + 1);
  const expected = (400 * 172) / 62;
  const chiSquare = [...counts.values()].reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
  // 61 degrees of freedom: above 140 once in ten million runs. A plain modulo of a byte gives above 400.
  expect(counts.size).toBe(62);
  expect(chiSquare).toBeLessThan(140);
});
