import { randomBytes } from 'node:crypto';
import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { acquire, connected, createTestCa, createUpstreams, exchange, listen, targetFor } from './testkit.ts';

const HOUR_MS = 3_600_000;
const ca = createTestCa('Test CA');

/** A TLS server that answers every chunk with its own name for the peer's SNI. Gives the port, and the connections it saw. */
async function startTls(options: TlsOptions) {
  const sockets: TLSSocket[] = [];
  const server = createTlsServer(options, (socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', () => socket.write(`sni=${socket.servername} alpn=${socket.alpnProtocol}.`));
  });
  return { port: await listen(server), sockets };
}

async function startPlain(onConnection: (socket: Socket) => void = () => {}) {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    onConnection(socket);
  });
  return listen(server);
}

const trusting = () => createUpstreams({ rootsPem: ca.pem });

describe('rule 1: the certificate is verified against the authority', () => {
  test('a good one: SNI and ALPN are sent, the suite is AES-128-GCM', async () => {
    const { port } = await startTls({ ...ca.issue(), ALPNProtocols: ['http/1.1'], honorCipherOrder: false });
    const connection = await connected(acquire(trusting(), targetFor(port)));
    expect(await exchange(connection, 'x', '.')).toBe('sni=api.test alpn=http/1.1.');
    expect((connection.socket as TLSSocket).getCipher().name).toBe('TLS_AES_128_GCM_SHA256');
    expect(connection.reused).toBe(false);
  });

  test('an IP address: no SNI, the certificate must have it', async () => {
    const { port } = await startTls(ca.issue({ dnsNames: [], ipAddresses: ['127.0.0.1'] }));
    const connection = await connected(acquire(trusting(), targetFor(port, { host: '127.0.0.1' })));
    expect(await exchange(connection, 'x', '.')).toBe('sni=false alpn=false.');
    expect(await acquire(trusting(), targetFor(port))).toMatchObject({ code: 'UpstreamCertificateInvalid' });
  });

  const now = Date.now();
  const other = createTestCa('Unknown CA');
  const selfKeys = ca.issue().keys;
  const selfIssuer = { commonName: 'upstream', privateKey: selfKeys.privateKey };
  const below = ca.issue({ commonName: 'no CA', dnsNames: ['no-ca.test'] });
  const fake = ca.issue({ issuer: { commonName: 'no CA', privateKey: below.keys.privateKey } });
  const selfSigned = ca.issue({ issuer: selfIssuer, publicKey: selfKeys.publicKey });
  const faults: [string, TlsOptions, RegExp][] = [
    ['expired', ca.issue({ notAfter: new Date(now - HOUR_MS) }), /it has expired/],
    ['not valid yet', ca.issue({ notBefore: new Date(now + HOUR_MS) }), /not valid yet/],
    ['for another host', ca.issue({ dnsNames: ['other.test'] }), /for another host/],
    ['with the host as common name only', ca.issue({ commonName: 'api.test', dnsNames: [] }), /for another host/],
    ['with a wildcard two labels up', ca.issue({ dnsNames: ['*.test', '*.*.test'] }), /for another host/],
    ['from an unknown CA', other.issue(), /CA is not trusted/],
    ['for clients only', ca.issue({ usages: ['clientAuth'] }), /not for servers/],
    ['issued by a leaf', { ...fake, cert: fake.cert + below.cert }, /does not verify/],
    [
      'self-signed',
      { cert: selfSigned.cert, key: selfKeys.privateKey.export({ type: 'pkcs8', format: 'pem' }) },
      /self-signed/,
    ],
  ];

  test.each(faults)('one that is %s is refused before a byte is sent', async (_, options, detail) => {
    const { port, sockets } = await startTls(options);
    const refusal = await acquire(trusting(), targetFor(port, { host: 'api.test' }));
    expect(refusal).toMatchObject({ kind: 'refuse', code: 'UpstreamCertificateInvalid' });
    expect(refusal).toMatchObject({ detail: expect.stringMatching(detail) });
    expect(refusal).toMatchObject({ detail: expect.stringContaining(`api.test:${port}`) });
    for (const socket of sockets) expect(socket.bytesRead).toBe(0);
  });

  test('whatever NODE_TLS_REJECT_UNAUTHORIZED says', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const { port } = await startTls(other.issue());
    expect(await acquire(trusting(), targetFor(port))).toMatchObject({ code: 'UpstreamCertificateInvalid' });
  });

  test('an intermediate that is handed out as the extra CA is an anchor', async () => {
    const keys = ca.issue().keys;
    const mid = ca.issue({
      commonName: 'Mid',
      publicKey: keys.publicKey,
      ca: { pathLength: 0 },
      dnsNames: [],
      usages: [],
    });
    const { port } = await startTls(ca.issue({ issuer: { commonName: 'Mid', privateKey: keys.privateKey } }));
    await connected(acquire(createUpstreams({ rootsPem: mid.cert }), targetFor(port)));
    expect(await acquire(trusting(), targetFor(port))).toMatchObject({ code: 'UpstreamCertificateInvalid' });
  });
});

describe('rule 2: addresses', () => {
  test('a credential goes to no special address, and nothing is connected to', async () => {
    let connections = 0;
    const port = await startPlain(() => connections++);
    const refusal = await acquire(trusting(), targetFor(port, { networks: undefined }));
    expect(refusal).toMatchObject({ code: 'AddressRefused', detail: expect.stringContaining('127.0.0.1, a loopback') });
    expect(await acquire(trusting(), targetFor(port, { host: '::ffff:127.0.0.1', networks: undefined }))).toMatchObject(
      {
        code: 'AddressRefused',
      },
    );
    expect(connections).toBe(0);
  });

  test('a request without credential may go where the agent itself could', async () => {
    const port = await startPlain();
    const target = targetFor(port, { scheme: 'http', credentialed: false, networks: undefined });
    await connected(acquire(trusting(), target));
  });

  test('DNS rebinding: the address that was checked is the one that is dialled, and bad ones are left out', async () => {
    const reached: string[] = [];
    const port = await startPlain((socket) => reached.push(socket.localAddress!));
    const answers: LookupAddress[][] = [
      [
        { address: '10.0.0.1', family: 4 },
        { address: '127.0.0.1', family: 4 },
      ],
      [{ address: '127.0.0.2', family: 4 }],
    ];
    let asked = 0;
    const upstreams = createUpstreams({ lookup: (_, callback) => callback(null, answers[asked++]!) });
    const target = targetFor(port, { scheme: 'http' });
    const first = await connected(acquire(upstreams, target));
    expect(first.socket.remoteAddress).toBe('127.0.0.1');
    expect(reached).toEqual(['127.0.0.1']);
    expect(asked).toBe(1);
  });

  test('a name that leads only to bad addresses is refused, whatever it led to before', async () => {
    const port = await startPlain();
    const time = { ms: 0 };
    let address = '127.0.0.1';
    const upstreams = createUpstreams({
      clock: { nowMs: Date.now, monotonicMs: () => time.ms },
      lookup: (_, callback) => callback(null, [{ address, family: 4 }]),
    });
    const target = targetFor(port, { scheme: 'http' });
    await connected(acquire(upstreams, target));
    address = '169.254.169.254';
    time.ms = 60_000;
    expect(await acquire(upstreams, target)).toMatchObject({ code: 'AddressRefused' });
  });

  test.each(['127.0.0.1', 'localhost', 'api.localhost', '::1', '0.0.0.0', '::ffff:127.0.0.1', 'loop.test'])(
    'our own listener is never dialled as %s, credential or not',
    async (host) => {
      let connections = 0;
      const port = await startPlain(() => connections++);
      const upstreams = createUpstreams({ ownPorts: new Set([port]) });
      for (const credentialed of [true, false]) {
        const target = targetFor(port, { scheme: 'http', host, credentialed });
        expect(await acquire(upstreams, target)).toMatchObject({ code: 'LoopDetected' });
      }
      expect(connections).toBe(0);
    },
  );

  test('our own listener is never dialled by the address of an interface', async () => {
    const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    expect(addresses.length).toBeGreaterThan(0);
    const upstreams = createUpstreams({ ownPorts: new Set([15_080]) });
    for (const { address } of addresses) {
      const target = targetFor(15_080, { scheme: 'http', host: address, credentialed: false });
      expect(await acquire(upstreams, target)).toMatchObject({ code: 'LoopDetected' });
    }
  });

  test('the next address is tried when one does not answer, over TLS too, and the session is resumed there', async () => {
    const { port } = await startTls({ ...ca.issue(), ALPNProtocols: ['http/1.1'] });
    const addresses = ['127.0.0.3', '127.0.0.2', '127.0.0.1'].map((address) => ({ address, family: 4 }));
    const upstreams = createUpstreams({ rootsPem: ca.pem, lookup: (_, callback) => callback(null, addresses) });
    for (const resumed of [false, true]) {
      const connection = await connected(acquire(upstreams, targetFor(port), true));
      expect(await exchange(connection, 'x', '.')).toBe('sni=api.test alpn=http/1.1.');
      expect((connection.socket as TLSSocket).isSessionReused()).toBe(resumed);
    }
  });

  test('localhost reaches a server that listens on IPv4 only', async () => {
    const port = await startPlain();
    await connected(acquire(trusting(), targetFor(port, { scheme: 'http', host: 'localhost' })));
  });
});

describe('what goes wrong has its code', () => {
  test('a name that does not exist', async () => {
    expect(await acquire(trusting(), targetFor(443, { host: 'nowhere.example' }))).toMatchObject({
      code: 'UpstreamUnresolved',
      detail: 'the name nowhere.example does not exist in DNS (ENOTFOUND)',
    });
  });

  test('a port that nobody listens on, at one address and at several', async () => {
    const port = await startPlain();
    const closed = createServer();
    closed.listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port: free } = closed.address() as { port: number };
    closed.close();
    expect(port).not.toBe(free);
    for (const host of ['api.test', 'localhost']) {
      expect(await acquire(trusting(), targetFor(free, { host }))).toMatchObject({
        code: 'UpstreamUnreachable',
        detail: `no address of ${host}:${free} accepts a connection (ECONNREFUSED)`,
      });
    }
  });

  test('an upstream that does not speak TLS', async () => {
    const port = await startPlain((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    expect(await acquire(trusting(), targetFor(port))).toMatchObject({
      code: 'UpstreamUnreachable',
      detail: expect.stringMatching(/^the TLS handshake with api\.test:\d+ failed/),
    });
  });

  test('an upstream that closes or resets during the handshake', async () => {
    for (const cut of ['destroy', 'resetAndDestroy'] as const) {
      const port = await startPlain((socket) => socket.once('data', () => socket[cut]()));
      expect(await acquire(trusting(), targetFor(port))).toMatchObject({ code: 'UpstreamUnreachable' });
    }
  });

  test('an upstream that only has TLS 1.1 or CBC suites', async () => {
    const { port } = await startTls({ ...ca.issue(), maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' });
    expect(await acquire(trusting(), targetFor(port))).toMatchObject({ code: 'UpstreamUnreachable' });
  });

  test('an upstream that accepts and is silent; DNS that is silent', async () => {
    const port = await startPlain();
    const slow = createUpstreams({ rootsPem: ca.pem, openTimeoutMs: 100 });
    expect(await acquire(slow, targetFor(port))).toMatchObject({
      code: 'UpstreamTimeout',
      detail: `no connection to api.test:${port} within 0.1 s`,
    });
    const silent = createUpstreams({ lookup: () => {}, openTimeoutMs: 100 });
    expect(await acquire(silent, targetFor(port))).toMatchObject({ code: 'UpstreamTimeout' });
    expect(slow.stats()).toEqual({ idle: 0, active: 0 });
  });

  test('an attempt that is called off reports nothing and leaves no socket', async () => {
    const closed = Promise.withResolvers<void>();
    const arrived = Promise.withResolvers<void>();
    const port = await startPlain((socket) => {
      socket.on('close', () => closed.resolve()).resume();
      arrived.resolve();
    });
    const upstreams = trusting();
    const cancel = upstreams.acquire(targetFor(port), false, () => {
      throw new Error('called back');
    });
    await arrived.promise;
    cancel();
    cancel();
    await closed.promise;
    expect(upstreams.stats()).toEqual({ idle: 0, active: 0 });
  });
});

describe('TLS sessions', () => {
  test.each(['TLSv1.3', 'TLSv1.2'] as const)('are resumed over %s, but never for another host', async (version) => {
    const { port, sockets } = await startTls({
      ...ca.issue({ dnsNames: ['*.api.test', 'api.test'] }),
      maxVersion: version,
    });
    const upstreams = trusting();
    const reused = async (host: string) => {
      const connection = await connected(acquire(upstreams, targetFor(port, { host }), true));
      await exchange(connection, 'x', '.');
      return (connection.socket as TLSSocket).isSessionReused();
    };
    expect(await reused('api.test')).toBe(false);
    expect(await reused('api.test')).toBe(true);
    expect(await reused('b.api.test')).toBe(false);
    expect(sockets.map((socket) => socket.isSessionReused())).toEqual([false, true, false]);
  });

  test('none is older than an hour, however often it was resumed', async () => {
    const { port } = await startTls(ca.issue());
    const time = { ms: 0 };
    const clock = { nowMs: Date.now, monotonicMs: () => time.ms };
    const upstreams = createUpstreams({ rootsPem: ca.pem, clock });
    const reused = async () => {
      const connection = await connected(acquire(upstreams, targetFor(port), true));
      await exchange(connection, 'x', '.');
      return (connection.socket as TLSSocket).isSessionReused();
    };
    expect(await reused()).toBe(false);
    time.ms = 2_400_000;
    expect(await reused()).toBe(true);
    time.ms = 3_600_000;
    expect(await reused()).toBe(false);
  });

  test('a server that forgot them gets a full handshake', async () => {
    const server = createTlsServer(ca.issue(), (socket) =>
      socket.on('error', () => {}).on('data', () => socket.write('.')),
    );
    const port = await listen(server);
    const upstreams = trusting();
    const reused = async () => {
      const connection = await connected(acquire(upstreams, targetFor(port), true));
      await exchange(connection, 'x', '.');
      return (connection.socket as TLSSocket).isSessionReused();
    };
    expect(await reused()).toBe(false);
    server.setTicketKeys(randomBytes(48));
    expect(await reused()).toBe(false);
    expect(await reused()).toBe(true);
  });
});
