import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { decodeBase64, encodeBase64 } from './base64Bytes.ts';

test('encodes and decodes as Node does, at every length', () => {
  for (let length = 0; length < 200; length += 1) {
    const bytes = randomBytes(length);
    const encoded = encodeBase64(bytes);
    expect(encoded.toString()).toBe(bytes.toString('base64'));
    expect(decodeBase64(encoded)).toEqual(bytes);
  }
});

test.each(['A', 'AA', 'AAA', 'A===', '====', 'AA=A', 'AAA\n', 'AA-_', 'A A='])(
  'refuses what is no base64: %j',
  (text) => {
    expect(decodeBase64(Buffer.from(text))).toBeUndefined();
  },
);
