import fc from 'fast-check';
import { expect, test } from 'vitest';
import { base64, base64Within } from './base64.ts';
import { jsonEscaped } from './jsonEscaping.ts';
import { percentEncoded } from './percentEncoding.ts';
import { SecretBuffers } from './secretBuffers.ts';

const secrets = new SecretBuffers();
const anyBytes = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes));

test('base64 of bytes is what Node makes of them', () => {
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      expect(base64(bytes, secrets).toString()).toBe(bytes.toString('base64'));
    }),
  );
});

test('base64 of any text contains the digits that depend on the material within it alone', () => {
  fc.assert(
    fc.property(anyBytes, anyBytes, anyBytes, (before, material, after) => {
      const within = base64Within(material, before.length % 3, secrets).toString();
      const whole = Buffer.concat([before, material, after]).toString('base64');
      expect(whole).toContain(within);
      expect(within.length).toBeGreaterThanOrEqual(Math.floor((material.length * 8) / 6) - 1);
    }),
  );
});

test('percent-encoding reads back as the same bytes and keeps only unreserved characters', () => {
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      const encoded = percentEncoded(bytes, secrets).toString('latin1');
      expect(encoded).toMatch(/^([A-Za-z0-9._~-]|%[0-9A-F]{2})*$/);
      const read = encoded.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
      expect(Buffer.from(read, 'latin1').equals(bytes)).toBe(true);
    }),
  );
});

test('JSON escapes are those of JSON.stringify', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('a', '"', '\\', '/', '\n', '\0', '\x7f', 'é', '\u2028', '🔑') }),
      (text) => {
        expect(`"${jsonEscaped(Buffer.from(text), secrets).toString()}"`).toBe(JSON.stringify(text));
      },
    ),
  );
  const controls = String.fromCharCode(...Array(0x80).keys());
  expect(`"${jsonEscaped(Buffer.from(controls), secrets).toString()}"`).toBe(JSON.stringify(controls));
});

test('what needs no encoding is given back as the same Buffer, so that it is kept once', () => {
  const bytes = Buffer.from('sk-live_0123.abc~');
  expect(percentEncoded(bytes, secrets)).toBe(bytes);
  expect(jsonEscaped(bytes, secrets)).toBe(bytes);
});
