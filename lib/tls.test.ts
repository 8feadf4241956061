import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type SecureContextOptions } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TLS_DEFAULTS } from './tls.ts';
import { generateP256, issueCertificate, toPem } from './x509.ts';

const { privateKey, publicKey } = generateP256();
const issued = issueCertificate({
  commonName: 'test',
  publicKey,
  notBefore: new Date(Date.now() - 60_000),
  notAfter: new Date(Date.now() + 3_600_000),
  issuer: { commonName: 'test', privateKey },
  dnsNames: ['localhost'],
});
const identity = { cert: toPem(issued.der), key: privateKey.export({ type: 'pkcs8', format: 'pem' }) };
const server = createServer({ ...identity, ...TLS_DEFAULTS }, (socket) => socket.on('error', () => {}).end());
beforeAll(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterAll(() => {
  server.close();
});

/** The protocol and suite a client with these options gets from our server, or the error's code. */
function negotiate(options: SecureContextOptions): Promise<string> {
  return new Promise((resolve) => {
    const { port } = server.address() as AddressInfo;
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca: identity.cert, ...options });
    socket.on('secureConnect', () => resolve(`${socket.getProtocol()} ${socket.getCipher().name}`));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.resume();
  });
}

test('AES-128-GCM comes first on TLS 1.3 and 1.2', async () => {
  expect(await negotiate(TLS_DEFAULTS)).toBe('TLSv1.3 TLS_AES_128_GCM_SHA256');
  expect(await negotiate({ ...TLS_DEFAULTS, maxVersion: 'TLSv1.2' })).toBe('TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256');
});

test('neither CBC suites nor TLS 1.1 are to be had', async () => {
  expect(await negotiate({ maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' })).toMatch(/HANDSHAKE_FAILURE/);
  expect(await negotiate({ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' })).toMatch(
    /PROTOCOL_VERSION/,
  );
});
