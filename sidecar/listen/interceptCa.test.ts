import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, TLSSocket as ServerTlsSocket, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { InterceptCa } from './interceptCa.ts';

const HOUR_MS = 3_600_000;
const run = promisify(execFile);

function setUp() {
  const time = { ms: Date.now() };
  return { time, ca: new InterceptCa({ clock: { nowMs: () => time.ms, monotonicMs: () => time.ms } }) };
}

/** Terminates TLS with the CA's context for `host()`, as the listener does inside a tunnel, and answers a byte with one. */
async function serve(ca: InterceptCa, host: () => string): Promise<number> {
  const server = createServer((socket) => {
    const secure = new ServerTlsSocket(socket, { isServer: true, secureContext: ca.context(host()) });
    secure.on('error', () => {}).on('data', () => secure.write('.'));
  });
  server.listen(0, '127.0.0.1', 2_000);
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

interface Visit {
  certificate: X509Certificate;
  reused: boolean;
  suite: string;
  session: Buffer | undefined;
}

/** One handshake and one byte each way. @throws what the handshake fails with */
function visit(port: number, options: ConnectionOptions): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const servername = 'api.example.com';
    let session: Buffer | undefined;
    const socket: TLSSocket = connect({ port, host: '127.0.0.1', servername, ...options }, () => socket.write('x'));
    socket.on('session', (ticket) => {
      session = ticket;
    });
    socket.on('error', reject);
    socket.on('data', () => {
      const certificate = socket.getPeerX509Certificate()!;
      resolve({ certificate, reused: socket.isSessionReused(), suite: socket.getCipher().name, session });
      socket.destroy();
    });
  });
}

describe('the CA', () => {
  test('is one of its own for every sidecar: P-256, may issue leaves only, valid from two days ago, should the clock jump back', () => {
    const { ca, time } = setUp();
    const certificate = new X509Certificate(ca.caPem);
    expect(certificate.subject).toMatch(/^CN=Sidekey agent CA [0-9a-f]{16}$/);
    expect(certificate.ca).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(time.ms - certificate.validFromDate.getTime()).toBeGreaterThanOrEqual(HOUR_MS);
    expect(ca.caPem).toBe(ca.caPem);
    expect(new X509Certificate(setUp().ca.caPem).subject).not.toBe(certificate.subject);
  });

  test('and its leaves pass openssl verify -x509_strict', async () => {
    const { ca } = setUp();
    const port = await serve(ca, () => 'api.example.com');
    const { certificate } = await visit(port, { ca: ca.caPem });
    const dir = mkdtempSync(join(tmpdir(), 'intercept-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    writeFileSync(join(dir, 'ca.pem'), ca.caPem);
    writeFileSync(join(dir, 'leaf.pem'), certificate.toString());
    const args = ['-x509_strict', '-purpose', 'sslserver', '-verify_hostname', 'api.example.com'];
    const { stdout } = await run('openssl', ['verify', ...args, '-CAfile', join(dir, 'ca.pem'), join(dir, 'leaf.pem')]);
    expect(stdout).toMatch(/: OK\n$/);
  });
});

describe('a leaf', () => {
  test.each([
    ['192.0.2.7', 'IP Address:192.0.2.7'],
    ['2001:db8::7', 'IP Address:2001:DB8:0:0:0:0:0:7'],
    ['api.example.com', 'DNS:api.example.com'],
    [`${'a'.repeat(63)}.${'b'.repeat(63)}.example.com`, `DNS:${'a'.repeat(63)}.${'b'.repeat(63)}.example.com`],
  ])('for %s has just that name, for 24 h from now', async (host, name) => {
    const { ca, time } = setUp();
    const port = await serve(ca, () => host);
    const { certificate } = await visit(port, { ca: ca.caPem, checkServerIdentity: () => undefined });
    expect(certificate.subjectAltName).toBe(name);
    expect(certificate.validToDate.getTime()).toBe(Math.floor((time.ms + 24 * HOUR_MS) / 1000) * 1000);
  });

  test('is minted once under 1,000 concurrent first handshakes', async () => {
    const { ca } = setUp();
    const port = await serve(ca, () => 'api.example.com');
    const visits = await Promise.all(Array.from({ length: 1_000 }, () => visit(port, { ca: ca.caPem })));
    expect(new Set(visits.map(({ certificate }) => certificate.serialNumber)).size).toBe(1);
  });

  test('is kept until two thirds of its life, and replaced when the clock jumps back behind it', () => {
    const { ca, time } = setUp();
    const start = time.ms;
    const first = ca.context('api.example.com');
    time.ms = start + 16 * HOUR_MS - 1;
    expect(ca.context('api.example.com')).toBe(first);
    time.ms = start - HOUR_MS;
    expect(ca.context('api.example.com')).toBe(first);
    time.ms = start + 16 * HOUR_MS;
    const second = ca.context('api.example.com');
    expect(second).not.toBe(first);
    expect(ca.context('api.example.com')).toBe(second);
    time.ms = start;
    expect(ca.context('api.example.com')).not.toBe(second);
  });

  test('rule 12: contexts are bounded, the least recently used goes first', () => {
    const { ca } = setUp();
    const [kept, dropped] = [ca.context('kept.example.com'), ca.context('dropped.example.com')];
    for (let i = 0; i < 255; i++) {
      ca.context(`host-${i}.example.com`);
      expect(ca.context('kept.example.com')).toBe(kept);
    }
    expect(ca.context('dropped.example.com')).not.toBe(dropped);
  });
});

describe('a TLS session', () => {
  test.each(['TLSv1.3', 'TLSv1.2'] as const)(
    'of %s is resumed, also after the leaf was renewed',
    async (maxVersion) => {
      const { ca, time } = setUp();
      time.ms -= 16 * HOUR_MS;
      const port = await serve(ca, () => 'api.example.com');
      const first = await visit(port, { ca: ca.caPem, maxVersion });
      expect(first.reused).toBe(false);
      const second = await visit(port, { ca: ca.caPem, maxVersion, session: first.session });
      expect(second.reused).toBe(true);
      time.ms += 16 * HOUR_MS;
      const third = await visit(port, { ca: ca.caPem, maxVersion, session: first.session });
      expect(third.reused).toBe(true);
      const fourth = await visit(port, { ca: ca.caPem, maxVersion });
      expect(fourth.certificate.serialNumber).not.toBe(first.certificate.serialNumber);
    },
  );

  test('is resumed by openssl s_client -reconnect', async () => {
    const { ca } = setUp();
    const port = await serve(ca, () => 'api.example.com');
    const args = [
      's_client',
      '-connect',
      `127.0.0.1:${port}`,
      '-servername',
      'api.example.com',
      '-tls1_2',
      '-reconnect',
    ];
    const client = run('openssl', args);
    client.child.stdin!.end();
    const { stdout } = await client;
    expect(stdout.match(/^Reused, TLSv1.2/gm)).toHaveLength(5);
  });

  test.each(['X25519', 'P-256', 'P-384', 'X25519MLKEM768:X25519'])('a client with %s is served', async (ecdhCurve) => {
    const { ca } = setUp();
    const port = await serve(ca, () => 'api.example.com');
    await visit(port, { ca: ca.caPem, ecdhCurve });
  });

  test('AES-128-GCM first, no CBC suites, nothing below TLS 1.2', async () => {
    const { ca } = setUp();
    const port = await serve(ca, () => 'api.example.com');
    const base = { ca: ca.caPem };
    expect((await visit(port, base)).suite).toBe('TLS_AES_128_GCM_SHA256');
    expect((await visit(port, { ...base, maxVersion: 'TLSv1.2' })).suite).toBe('ECDHE-ECDSA-AES128-GCM-SHA256');
    await expect(
      visit(port, { ...base, maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }),
    ).rejects.toThrow();
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const;
    await expect(visit(port, { ...base, ...old })).rejects.toThrow(/protocol version/);
  });
});
