import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { expect, test } from 'vitest';
import { addressBytes } from './addressBytes.ts';

/** What the URL parser and ipaddr.js make of it; ipaddr.js alone takes `::1.2.3.4` for an IPv4-mapped address. */
function reference(text: string): number[] {
  const { hostname } = new URL(`http://${text.includes(':') ? `[${text}]` : text}/`);
  return ipaddr.parse(hostname.replace(/^\[|\]$/g, '')).toByteArray();
}

test('every spelling of an address gives the bytes that other parsers read', () => {
  const texts = [
    '0.0.0.0',
    '255.1.2.3',
    '::',
    '::1',
    '1::',
    'fe80::1:2',
    '2001:DB8::a',
    '::ffff:10.0.0.1',
    '64:ff9b::192.0.2.1',
  ];
  for (const text of texts) expect([...addressBytes(text)!]).toEqual(reference(text));
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
      expect([...addressBytes(text)!]).toEqual(reference(text));
    }),
  );
});

test('what is no address, or has a zone, gives none', () => {
  for (const text of ['', '1.2.3', '0x7f.1', '1.2.3.4.5', '010.0.0.1', ':::', 'fe80::1%eth0', '[::1]', 'localhost']) {
    expect(addressBytes(text)).toBeUndefined();
  }
});
