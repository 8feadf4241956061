import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LOOPBACK } from '../../sidecar/sidecarProcess.ts';
import { Lab, refusalOf, SECRET, withDns } from './lab.ts';
import type { RawUpstream } from './rawUpstream.ts';

/** Family → addresses of it that a name may lead to. */
const SPECIAL: Record<string, readonly string[]> = {
  loopback: ['127.0.0.1', '127.1.2.3', '::1'],
  unspecified: ['0.0.0.0', '0.1.2.3', '::'],
  private: ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', 'fc00::1', 'fd12::1', 'fec0::1'],
  shared: ['100.64.0.1', '100.127.255.254'],
  'link-local': ['169.254.1.1', 'fe80::1', 'febf::1'],
  multicast: ['224.0.0.1', '239.255.255.250', 'ff02::1'],
  reserved: [
    '192.0.2.1',
    '198.18.0.1',
    '203.0.113.1',
    '240.0.0.1',
    '255.255.255.255',
    '2001:db8::1',
    '100::1',
    '3fff::1',
  ],
  'mapped IPv4': ['::ffff:127.0.0.1', '::ffff:10.0.0.1', '::ffff:169.254.169.254'],
  'compatible IPv4': ['::127.0.0.1', '::10.0.0.1'],
  'NAT64-wrapped': ['64:ff9b::7f00:1', '64:ff9b::a00:1', '64:ff9b::a9fe:a9fe', '64:ff9b:1::a00:1'],
  '6to4-wrapped': ['2002:7f00:1::1', '2002:a00:1::1', '2002:a9fe:a9fe::1'],
  // The client's address is inverted: 10.0.0.1 is f5ff:fffe.
  'Teredo-wrapped': ['2001:0:808:808::f5ff:fffe', '2001:0:7f00:1::f7f7:f7f7'],
};
const METADATA = [
  '169.254.169.254',
  'fd00:ec2::254',
  '169.254.170.2',
  '168.63.129.16',
  '100.100.100.200',
  '192.0.0.192',
  '::ffff:169.254.169.254',
  '64:ff9b::a9fe:a9fe',
];
const nameOf = (address: string, suffix: string) => `${address.replace(/[.:]/g, '-')}x.${suffix}`;

let lab: Lab;
let plain: RawUpstream;
let healthPort: number;
let proxyPort: number;

beforeAll(async () => {
  proxyPort = await freePort();
  healthPort = await freePort();
  lab = await Lab.start(async (made) => {
    plain = await made.plainUpstream(['plain.localhost']);
    const own = [`own.test:${proxyPort}`, `own.test:${healthPort}`, `own.localhost:${proxyPort}`];
    const hosts = ['*.special.test', '*.wide.test', made.api.host(), plain.host(), ...own];
    const dns = Object.fromEntries([
      ...Object.values(SPECIAL).flatMap((list) => list.map((a) => [nameOf(a, 'special.test'), [[a]]])),
      ...METADATA.map((a) => [nameOf(a, 'wide.test'), [[a]]]),
      ['own.test', [['127.0.0.1']]],
    ]);
    return {
      ...withDns(dns),
      proxyPort,
      healthPort,
      credentials: { 'default/key': { hosts, material: SECRET } },
      integrations: {
        'default/special': { hosts: ['*.special.test', made.api.host()] },
        'default/wide': { hosts: ['*.wide.test'], allowedNetworks: ['0.0.0.0/0', '::/0'] },
        'default/own': { hosts: own, allowedNetworks: LOOPBACK },
        'default/plain': { hosts: [plain.host()], allowedNetworks: LOOPBACK },
      },
    };
  });
});
afterAll(() => lab?.close());
beforeEach(() => {
  lab.api.forget();
  plain.forget();
});

const through = (authority: string) => lab.ask(`GET https://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);

describe('a covered name that leads to a special address is refused', () => {
  test.each(Object.entries(SPECIAL))('%s', async (_, addresses) => {
    for (const address of addresses) {
      expect([address, refusalOf(await through(nameOf(address, 'special.test')))]).toEqual([
        address,
        '403 AddressRefused',
      ]);
    }
  });

  test('a name under localhost, which never asks a name server', async () => {
    expect(refusalOf(await through(lab.api.host()))).toBe('403 AddressRefused');
    expect(refusalOf(await lab.askInTunnel(`GET / HTTP/1.1\r\nHost: ${lab.api.host()}\r\n\r\n`))).toBe(
      '403 AddressRefused',
    );
    expect(lab.api.connections).toBe(0);
  });

  test('a metadata service, even where allowedNetworks are everything', async () => {
    for (const address of METADATA)
      expect([address, refusalOf(await through(nameOf(address, 'wide.test')))]).toEqual([
        address,
        '403 AddressRefused',
      ]);
  });
});

test('an address in place of a name is never given a credential', async () => {
  for (const host of ['127.0.0.1', '[::1]', '[::ffff:7f00:1]']) {
    const authority = `${host}:${lab.api.port}`;
    const answer = await through(authority);
    expect(answer.status).not.toBe(200);
  }
  for (const host of ['2130706433', '0x7f.1', '127.1', '0177.0.0.1', '127.0.0.1.', '0']) {
    expect([host, refusalOf(await through(`${host}:${lab.api.port}`))]).toEqual([host, '400 MalformedRequest']);
  }
  expect(lab.api.bytes).toBe('');
});

test('the sidecar is never its own upstream, by whatever name', async () => {
  for (const authority of [`own.test:${proxyPort}`, `own.test:${healthPort}`, `own.localhost:${proxyPort}`])
    expect([authority, refusalOf(await through(authority))]).toEqual([authority, '508 LoopDetected']);
  for (const authority of [`127.0.0.1:${proxyPort}`, `[::1]:${healthPort}`, `sidekey.internal:${proxyPort}`])
    expect([authority, refusalOf(await through(authority))]).toEqual([authority, '508 LoopDetected']);
});

test('over plain http no credential travels unless the Integration says so', async () => {
  const authority = plain.host();
  const request = `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
  expect(refusalOf(await lab.ask(request))).toBe('403 PlaintextRefused');
  const tunnel = await lab.open();
  await tunnel.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`).answer('CONNECT');
  expect(refusalOf(await tunnel.send(`GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`).answer())).toBe(
    '403 PlaintextRefused',
  );
  expect(plain.connections).toBe(0);
});

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
