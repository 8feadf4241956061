import { type KeyObject, X509Certificate } from 'node:crypto';
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

interface Authority {
  issuer: CertificateRequest['issuer'];
  publicKey: KeyObject;
  pem: string;
  /** Itself and what is above it, without the root. */
  chainPem: string;
}

/** A CA of its own, or one below `parent`. */
function authority(commonName: string, parent?: Authority): Authority {
  const { privateKey, publicKey } = generateP256();
  const issuer = { commonName, privateKey };
  const { der } = issueCertificate({
    commonName,
    publicKey,
    ...validity(-2, 100),
    issuer: parent?.issuer ?? issuer,
    ca: { pathLength: parent === undefined ? 1 : 0 },
  });
  return { issuer, publicKey, pem: toPem(der), chainPem: parent === undefined ? '' : toPem(der) + parent.chainPem };
}

const root = authority('Our CA');
const ca = authority('Our issuing CA', root);
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
const peers = new Peers({ identities, ca: { issuers: [ca.publicKey] } });
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
  cert: toPem(serverDer) + ca.chainPem,
  ca: root.pem,
  requestCert: true,
  rejectUnauthorized: false,
});

beforeAll(() => once(server.listen(0, '127.0.0.1'), 'listening'));
afterAll(() => server.close());

/** What the store says of a client with this certificate, which is on its list whatever it is. */
async function outcome(
  request: Partial<CertificateRequest> | undefined,
  options: { known?: boolean; issuedBy?: Authority; chainPem?: string; whileOpen?: () => void } = {},
): Promise<string> {
  let credentials = {};
  if (request !== undefined) {
    const { privateKey, publicKey } = generateP256();
    const { der, serialNumber } = issueCertificate({
      commonName: 'client',
      publicKey,
      ...validity(),
      issuer: (options.issuedBy ?? ca).issuer,
      uris: [OURS],
      usages: ['clientAuth'],
      ...request,
    });
    if (options.known !== false) {
      const { fingerprint256: fingerprint } = new X509Certificate(der);
      const expiresAtMs = clock.nowMs() + HOUR_MS;
      identities.add({ serial: serialNumber, fingerprint, kind: 'session', sessionId: 'session-1', expiresAtMs });
    }
    credentials = {
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      cert: toPem(der) + (options.chainPem ?? (options.issuedBy ?? ca).chainPem),
    };
  }
  const accepted = once(server, 'secureConnection');
  const { port } = server.address() as AddressInfo;
  const client = connect({ port, host: '127.0.0.1', ca: root.pem, servername: 'localhost', ...credentials });
  client.on('error', () => {});
  const [socket] = (await accepted) as [TLSSocket];
  options.whileOpen?.();
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
  expect(await outcome({}, { issuedBy: authority('Other CA') })).toBe('NotAuthenticated');
  expect(await outcome({}, { issuedBy: authority('Other issuing CA', authority('Other CA')) })).toBe(
    'NotAuthenticated',
  );
});
test('a certificate of another CA that uses our names is refused', async () => {
  const alike = authority('Our issuing CA', authority('Our CA'));
  expect(await outcome({}, { issuedBy: alike })).toBe('NotAuthenticated');
  expect(await outcome({}, { issuedBy: alike, chainPem: ca.chainPem })).toBe('NotAuthenticated');
});
test('a certificate of another CA is refused although it has expired', async () => {
  expect(await outcome(validity(-3, -2), { issuedBy: authority('Our CA') })).toBe('NotAuthenticated');
});
test('a certificate with a chain that is too long is refused', async () => {
  expect(await outcome({}, { issuedBy: authority('One too many', ca) })).toBe('NotAuthenticated');
});
test('a certificate of an intermediate that somebody made of a client certificate is refused', async () => {
  const { privateKey, publicKey } = generateP256();
  const own = issueCertificate({
    commonName: 'client',
    publicKey,
    ...validity(),
    issuer: ca.issuer,
    uris: [OURS],
    usages: ['clientAuth'],
  }).der;
  const made = { issuer: { commonName: 'client', privateKey }, publicKey, pem: '', chainPem: toPem(own) + ca.chainPem };
  expect(await outcome({}, { issuedBy: made })).toBe('NotAuthenticated');
});
test('a certificate of an intermediate below our root that the store does not know is refused', async () => {
  expect(await outcome({}, { issuedBy: authority('Our issuing CA', root) })).toBe('NotAuthenticated');
});
test('a certificate of ours without its chain is refused', async () => {
  expect(await outcome({}, { chainPem: '' })).toBe('NotAuthenticated');
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
test('an expired certificate is refused', async () => {
  expect(await outcome(validity(-3, -2), { known: false })).toBe('IdentityRevoked');
  // One that the store issued has its end by a clock that does not jump.
  const ended = outcome({}, { whileOpen: () => clock.advance(3600) });
  expect(await ended).toBe('IdentityRevoked');
});
test('a certificate that is not valid yet is refused', async () => {
  expect(await outcome(validity(2, 3), { known: false })).toBe('IdentityRevoked');
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
  identities.sessionChanged(short);
  const { fingerprint256: fingerprint } = new X509Certificate(der);
  const expiresAtMs = clock.nowMs() + HOUR_MS;
  identities.add({ serial: serialNumber, fingerprint, kind: 'session', sessionId: short.id, expiresAtMs });
  const accepted = once(server, 'secureConnection');
  const client = connect({
    port: (server.address() as AddressInfo).port,
    ca: root.pem,
    servername: 'localhost',
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: toPem(der) + ca.chainPem,
  });
  const [socket] = (await accepted) as [TLSSocket];
  expect(peers.identify(socket).kind).toBe('session');
  identities.sessionEnded(short);
  expect(() => peers.identify(socket)).toThrow(expect.objectContaining({ code: 'IdentityRevoked' }));
  client.destroy();
  socket.destroy();
});
