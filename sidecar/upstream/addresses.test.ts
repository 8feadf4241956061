import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { describe, expect, test } from 'vitest';
import { judgeAddress } from './addresses.ts';
import { AllowedNetworks } from './allowedNetworks.ts';

/** The first and last address of each special block, and the word for it. */
const REFUSED: Record<string, string[]> = {
  unspecified: ['0.0.0.0', '0.255.255.255', '::'],
  loopback: ['127.0.0.1', '127.255.255.255', '::1'],
  private: ['10.0.0.0', '10.255.255.255', '172.16.0.0', '172.31.255.255', '192.168.0.0', '192.168.255.255'],
  shared: ['100.64.0.0', '100.127.255.255'],
  'link-local': ['169.254.0.0', '169.254.255.255', 'fe80::1', 'febf::1', 'fe80::1%eth0'],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1'],
  reserved: [
    ...['192.0.0.8', '192.0.2.1', '192.88.99.1', '198.18.0.0', '198.19.255.255', '198.51.100.1', '203.0.113.1'],
    ...['240.0.0.1', '255.255.255.255', '2001:db8::1', '3fff::1', '3fff:fff:ffff::1', '100::1', '4000::1', '2001:2::1'],
    ...['5f00::1', '64:ff9b:1::1', '2002:808:808::1', '2001:0:808:808::f7f7:f7f7', '::8.8.8.8', 'not an address'],
  ],
  metadata: ['169.254.169.254', 'fd00:ec2::254', '169.254.170.2', '168.63.129.16', '100.100.100.200', 'fd20:ce::254'],
};
REFUSED.private!.push('fc00::1', 'fdff:ffff::1');

const PUBLIC = [
  ...['1.1.1.1', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '126.255.255.255', '128.0.0.0'],
  ...['169.253.255.255', '169.255.0.0', '172.15.255.255', '172.32.0.0', '192.167.255.255', '192.169.0.0'],
  ...['198.17.255.255', '198.20.0.0', '223.255.255.255', '2606:4700::1111', '2001:200::1', '2a00:1450::1'],
  ...['64:ff9b::808:808', '::ffff:8.8.8.8'],
];

describe('rule 2: special addresses get no credential', () => {
  for (const [purpose, addresses] of Object.entries(REFUSED)) {
    test.each(addresses)(`%s is ${purpose}`, (address) => {
      expect(judgeAddress(address, undefined)).toBe(purpose);
      expect(judgeAddress(address, new AllowedNetworks(['8.8.8.8/32']))).toBe(purpose);
    });
  }

  test.each(PUBLIC)('%s is public', (address) => {
    expect(judgeAddress(address, undefined)).toBeUndefined();
  });

  test.each([
    ['::ffff:10.0.0.1', 'private'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:a9fe:a9fe', 'metadata'],
    ['64:ff9b::10.0.0.1', 'private'],
    ['64:ff9b::a9fe:a9fe', 'metadata'],
    ['64:ff9b::127.0.0.1', 'loopback'],
  ])('%s is judged by the IPv4 address that it carries: %s', (address, purpose) => {
    expect(judgeAddress(address, undefined)).toBe(purpose);
  });

  test.each([
    ['::10.0.0.1', '::/96', '10.0.0.0/8'],
    ['64:ff9b:1::10.0.0.1', '64:ff9b:1::/48', '10.0.0.0/8'],
    ['2002:a00:1::1', '2002::/16', '10.0.0.0/8'],
    // Teredo: server 8.8.8.8 and client 10.0.0.1, then the other way round.
    ['2001:0:808:808:0:0:f5ff:fffe', '2001::/32', '10.0.0.0/8'],
    ['2001:0:a00:1:0:0:f7f7:f7f7', '2001::/32', '10.0.0.0/8'],
  ])('%s needs leave for both %s and %s', (address, outer, inner) => {
    expect(judgeAddress(address, new AllowedNetworks([outer]))).toBe('private');
    expect(judgeAddress(address, new AllowedNetworks([inner]))).toBe('reserved');
    expect(judgeAddress(address, new AllowedNetworks([outer, inner]))).toBeUndefined();
  });

  test('whatever ipaddr.js does not call unicast is refused', () => {
    const agrees = (text: string) => {
      const parsed = ipaddr.process(text);
      const carried = parsed.range() === 'rfc6052';
      if (parsed.range() !== 'unicast' && !carried) expect(judgeAddress(text, undefined)).toBeDefined();
    };
    fc.assert(fc.property(fc.ipV4(), agrees), { numRuns: 2_000 });
    // The deprecated `::1.2.3.4` is refused by us; ipaddr.js reads it as something else.
    fc.assert(fc.property(fc.ipV6(), agrees), { numRuns: 2_000 });
  });
});

describe('rule 2: allowedNetworks', () => {
  test('allows what it covers and nothing beside it', () => {
    const allowed = new AllowedNetworks(['10.1.0.0/16', 'fd12::/16', '192.168.1.5', '127.0.0.0/25']);
    for (const address of ['10.1.0.0', '10.1.255.255', 'fd12::1', '192.168.1.5', '::ffff:10.1.2.3', '127.0.0.127']) {
      expect(judgeAddress(address, allowed)).toBeUndefined();
    }
    for (const address of ['10.0.255.255', '10.2.0.0', 'fd13::1', '192.168.1.4', '::ffff:10.2.0.0', '127.0.0.128']) {
      expect(judgeAddress(address, allowed)).toBeDefined();
    }
  });

  test('metadata services are refused by everything but their very address', () => {
    const everything = new AllowedNetworks(['0.0.0.0/0', '::/0', '169.254.169.254/31']);
    for (const address of [...REFUSED.metadata!, '::ffff:169.254.169.254', '64:ff9b::a9fe:a9fe']) {
      expect(judgeAddress(address, everything)).toBe('metadata');
    }
    const named = new AllowedNetworks(['169.254.169.254/32', 'fd00:ec2::254/128']);
    expect(judgeAddress('169.254.169.254', named)).toBeUndefined();
    expect(judgeAddress('::ffff:169.254.169.254', named)).toBeUndefined();
    expect(judgeAddress('fd00:ec2::254', named)).toBeUndefined();
    expect(judgeAddress('169.254.169.253', named)).toBe('link-local');
  });

  test.each(['10.0.0.0/33', '::/129', '10.0.0/8', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/-1', 'example.com', ''])(
    '%j is no network',
    (cidr) => {
      expect(() => new AllowedNetworks([cidr])).toThrow(RangeError);
    },
  );
});
