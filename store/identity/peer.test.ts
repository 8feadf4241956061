import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type CertificateRequest, generateP256, issueCertificate, toPem } from '../../lib/x509.ts';
import { ManualClock } from '../testing/clock.ts';
import { session } from '../testing/records.ts';
import { Identities } from './identities.ts';
import { Peers } from './peer.ts';

const HOUR_MS = 3_600_000;
const OURS = 'spiffe://sidekey.local/ns/default/sa/default';
const validity = (fromHours = -1, toHours = 1) => ({
  notBefore: new Date(Date.now() + fromHours * HOUR_MS),
  notAfter: new Date(Date.now() + toHours * HOUR_MS),
});

function authority(commonName: string) {
  const { privateKey, publicKey } = generateP256();
  const issuer = { commonName, privateKey };
  const { der } = issueCertificate({ commonName, publicKey, ...validity(-2, 100), issuer, ca: { pathLength: 1 } });
  return { issuer, publicKey, pem: toPem(der) };
}

const ca = authority('Our CA');
const clock = new ManualClock();
const identities = new Identities({
  clock,
  trustDomain: 'sidekey.local',
  seconds: 3600,
  snapshot: {
    credentials: [],
    materials: [],
    integrations: [],
    sessions: [session()],
    identities: [],
    revocations: [],
  },
});
const peers = new Peers({ identities, issuer: ca.publicKey });
const serverKey = generateP256();
const serverDer = issueCertificate({
  commonName: 'server',
  publicKey: serverKey.publicKey,
  ...validity(),
  issuer: ca.issuer,
  dnsNames: ['localhost'],
}).der;
const server = createServer({
  key: serverKey.privateKey.export({ type: 'pkcs8', format: 'pem' }),
  cert: toPem(serverDer),
  ca: ca.pem,
  requestCert: true,
  rejectUnauthorized: false,
});

beforeAll(() => once(server.listen(0, '127.0.0.1'), 'listening'));
afterAll(() => server.close());

/** What the store says of a client with this certificate, which is on its list whatever it is. */
async function outcome(
  request: Partial<CertificateRequest> | undefined,
  options: { known?: boolean } = {},
): Promise<string> {
  let credentials = {};
  if (request !== undefined) {
    const { privateKey, publicKey } = generateP256();
    const { der, serialNumber } = issueCertificate({
      commonName: 'client',
      publicKey,
      ...validity(),
      issuer: ca.issuer,
      uris: [OURS],
      usages: ['clientAuth'],
      ...request,
    });
    if (options.known !== false) {
      const { fingerprint256: fingerprint } = new X509Certificate(der);
      const expiresAtMs = clock.nowMs() + HOUR_MS;
      identities.add({ serial: serialNumber, fingerprint, kind: 'session', sessionId: 'session-1', expiresAtMs });
    }
    credentials = { key: privateKey.export({ type: 'pkcs8', format: 'pem' }), cert: toPem(der) };
  }
  const accepted = once(server, 'secureConnection');
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: '127.0.0.1', ca: ca.pem, servername: 'localhost', ...credentials });
  client.on('error', () => {});
  const [socket] = (await accepted) as [TLSSocket];
  try {
    return peers.identify(socket).kind;
  } catch (error) {
    return (error as Error & { code: string }).code;
  } finally {
    client.destroy();
    socket.destroy();
  }
}

test('a certificate of a session is its identity', async () => {
  expect(await outcome({})).toBe('session');
});
test('no certificate is refused', async () => {
  expect(await outcome(undefined)).toBe('NotAuthenticated');
});
test('a certificate of another CA is refused, even if it is on the list', async () => {
  expect(await outcome({ issuer: authority('Other CA').issuer })).toBe('NotAuthenticated');
});
test('a certificate of another CA that uses our name is refused', async () => {
  expect(await outcome({ issuer: authority('Our CA').issuer })).toBe('NotAuthenticated');
});
test('a certificate of another CA is refused although it has expired', async () => {
  expect(await outcome({ issuer: authority('Our CA').issuer, ...validity(-3, -2) })).toBe('NotAuthenticated');
});
test('a certificate of our CA that the store has not on its list is refused', async () => {
  expect(await outcome({}, { known: false })).toBe('IdentityRevoked');
});
test('a certificate of another trust domain is refused', async () => {
  expect(await outcome({ uris: ['spiffe://evil.local/ns/default/sa/default'] })).toBe('NotAuthenticated');
});
test('a certificate for another ServiceAccount than that of its session is refused', async () => {
  expect(await outcome({ uris: ['spiffe://sidekey.local/ns/default/sa/admin'] })).toBe('NotAuthenticated');
});
test('a certificate with two URI names is refused', async () => {
  expect(await outcome({ uris: [OURS, OURS] })).toBe('NotAuthenticated');
});
test('a certificate with a DNS name beside the URI is refused', async () => {
  expect(await outcome({ dnsNames: ['store.sidekey.internal'] })).toBe('NotAuthenticated');
});
test('a certificate that is not for client authentication is refused', async () => {
  expect(await outcome({ usages: [] })).toBe('NotAuthenticated');
  expect(await outcome({ usages: ['serverAuth'] })).toBe('NotAuthenticated');
});
test('a CA certificate is refused as an identity', async () => {
  expect(await outcome({ ca: { pathLength: 0 } })).toBe('NotAuthenticated');
});
test('a wall clock that jumped does not end an identity whose time is not over', async () => {
  expect(await outcome(validity(-3, -2))).toBe('session');
  expect(await outcome(validity(2, 3))).toBe('session');
});
test('the end of the session is seen on a connection that was open before', async () => {
  const { privateKey, publicKey } = generateP256();
  const { der, serialNumber } = issueCertificate({
    commonName: 'client',
    publicKey,
    ...validity(),
    issuer: ca.issuer,
    uris: [OURS],
    usages: ['clientAuth'],
  });
  const short = session({ id: 'session-2' });
  identities.sessionStarted(short);
  const { fingerprint256: fingerprint } = new X509Certificate(der);
  const expiresAtMs = clock.nowMs() + HOUR_MS;
  identities.add({ serial: serialNumber, fingerprint, kind: 'session', sessionId: short.id, expiresAtMs });
  const accepted = once(server, 'secureConnection');
  const client = connect({
    port: (server.address() as AddressInfo).port,
    ca: ca.pem,
    servername: 'localhost',
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: toPem(der),
  });
  const [socket] = (await accepted) as [TLSSocket];
  expect(peers.identify(socket).kind).toBe('session');
  identities.sessionEnded(short);
  expect(() => peers.identify(socket)).toThrow(expect.objectContaining({ code: 'IdentityRevoked' }));
  client.destroy();
  socket.destroy();
});
