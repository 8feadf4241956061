import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { createTestCa } from './testkit.ts';
import { trustedRootsPem } from './trust.ts';

function write(text: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'trust-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'ca.pem');
  writeFileSync(file, text);
  return file;
}

const [one, two] = [createTestCa('One').pem, createTestCa('Two').pem];

test('the roots are those of the machine', () => {
  expect(trustedRootsPem(undefined, {}).match(/BEGIN CERTIFICATE/g)!.length).toBeGreaterThan(50);
});

test('SSL_CERT_FILE takes their place, and must be there', () => {
  expect(trustedRootsPem(undefined, { SSL_CERT_FILE: write(one) })).toBe(one);
  expect(() => trustedRootsPem(undefined, { SSL_CERT_FILE: '/nowhere/ca.pem' })).toThrow(/ENOENT.*\/nowhere\/ca\.pem/);
});

test('the extra CAs come first, so that nothing odd in the roots can hide them', () => {
  const pem = trustedRootsPem(write(`# ours\n${one}${two}`), { SSL_CERT_FILE: write('roots') });
  expect(pem).toBe(`${one}${two}roots`);
});

test.each(['', 'garbage', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'])(
  'an extra CA file with %j says so',
  (text) => {
    const file = write(text);
    expect(() => trustedRootsPem(file)).toThrow(expect.objectContaining({ code: 'ExtraCaInvalid' }));
    expect(() => trustedRootsPem(file)).toThrow(file);
  },
);

test('one damaged certificate among good ones says so too', () => {
  const file = write(`${one}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${two}`);
  expect(() => trustedRootsPem(file)).toThrow(/cannot be read/);
});
