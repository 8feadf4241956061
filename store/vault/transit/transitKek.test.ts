import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { generateP256, issueCertificate, toPem } from '../../../lib/x509.ts';
import { TransitDouble } from '../../../test/doubles/transit.ts';
import { TransitKek, type TransitKekOptions } from './transitKek.ts';

const HOUR_MS = 3_600_000;
const aad = Buffer.from('sidekey\0data key\0default/key');
let dir: string;
let server: TransitDouble;
let tokenFile: string;
const opened: TransitKek[] = [];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sidekey-transit-'));
  tokenFile = join(dir, 'token');
  await serve(new TransitDouble());
});
afterEach(async () => {
  for (const kek of opened.splice(0)) kek.close();
  await server.stop();
  rmSync(dir, { recursive: true, force: true });
});

async function serve(double: TransitDouble): Promise<void> {
  await server?.stop();
  server = await double.start();
  server.createKey('sidekey');
  writeFileSync(tokenFile, server.token);
}

function kek(options: Partial<TransitKekOptions> = {}): TransitKek {
  const made = new TransitKek({ address: server.address, keyName: 'sidekey', tokenFile, timeoutMs: 300, ...options });
  opened.push(made);
  return made;
}
const failing = (code: string) => expect.objectContaining({ name: 'KekError', code });

test.each<[string, string, () => void]>([
  ['a server that is sealed', 'KekServiceSealed', () => server.setSealed(true)],
  ['a token that it does not know', 'KekDenied', () => writeFileSync(tokenFile, 'hvs.other')],
  [
    'a policy that does not permit it',
    'KekDenied',
    () => {
      server.permits = () => false;
    },
  ],
  ['a token file that is gone', 'KekDenied', () => rmSync(tokenFile)],
  ['a token file with a line break in it', 'KekDenied', () => writeFileSync(tokenFile, 'a\nb')],
  ['a key that is gone', 'KekMissing', () => server.deleteKey('sidekey')],
  ['a key of another kind', 'KekUnsuitable', () => server.createKey('sidekey', { type: 'rsa-2048' })],
  [
    'a server that takes no notice of associated data',
    'KekUnsuitable',
    () => {
      server.bindsAssociatedData = false;
    },
  ],
  [
    'a server that does not answer',
    'KekUnreachable',
    () => {
      server.hangs = true;
    },
  ],
  ['a server that fails for good', 'KekUnreachable', () => server.failures.push(500, 502, 500, 500)],
])('%s is told as %s', async (_what, code, spoil) => {
  spoil();
  const error = await kek()
    .health()
    .catch((thrown: unknown) => thrown);
  expect(error).toEqual(failing(code));
  expect(String(error)).not.toContain(server.token);
});

test('an address where nobody listens is KekUnreachable, a mount that is not there KekMissing', async () => {
  await expect(kek({ mount: 'other' }).health()).rejects.toEqual(failing('KekMissing'));
  await server.stop();
  await expect(kek().health()).rejects.toEqual(failing('KekUnreachable'));
});

test.each([429, 500, 502, 504, 412, 472, 473])('an answer %i is tried again', async (status) => {
  server.failures.push(status, status);
  await kek().health();
  expect(server.violations).toEqual([]);
});

test('what was sealed, denied or refused is not tried again', async () => {
  const one = kek();
  await one.health();
  const wrapped = await one.wrap(one.keys[0]!.id, Buffer.from('x'), aad);
  const count = async (work: () => Promise<unknown>) => {
    const before = server.requests.length;
    await expect(work()).rejects.toThrow();
    return server.requests.length - before;
  };
  expect(await count(() => one.unwrap(wrapped, Buffer.from('other')))).toBe(1);
  server.permits = () => false;
  expect(await count(() => one.unwrap(wrapped, aad))).toBe(1);
  server.sealed = true;
  expect(await count(() => one.unwrap(wrapped, aad))).toBe(1);
});

test('a key that is missed is not made anew by wrapping', async () => {
  const one = kek();
  await one.health();
  server.deleteKey('sidekey');
  server.permits = (operation) => operation !== 'create';
  await expect(one.wrap('transit:transit/sidekey:v1', Buffer.from('x'), aad)).rejects.toEqual(failing('KekMissing'));
  expect(server.violations).toEqual([]);
});

test('the token is read anew for each request', async () => {
  const one = kek();
  await one.health();
  const { token } = server;
  writeFileSync(tokenFile, 'hvs.expired');
  await expect(one.health()).rejects.toEqual(failing('KekDenied'));
  writeFileSync(tokenFile, `${token}\n`);
  await one.health();
});

test('a version that was forbidden meanwhile opens nothing, a newer one goes on', async () => {
  const one = kek();
  await one.health();
  const old = await one.wrap(one.keys[0]!.id, Buffer.from('x'), aad);
  const id = await one.makeKey();
  server.configure('sidekey', { minDecryption: 2, minEncryption: 2 });
  await one.health();
  expect(one.keys.map((key) => key.id)).toEqual([id]);
  await expect(one.unwrap(old, aad)).rejects.toEqual(failing('KekRefused'));
  expect(await one.unwrap(await one.wrap(id, Buffer.from('x'), aad), aad)).toEqual(Buffer.from('x'));
});

test('over TLS the certificate of the server is verified, by caFile if it is named', async () => {
  const ca = authority();
  await serve(new TransitDouble({ tls: ca.leaf }));
  const address = server.address.replace('127.0.0.1', 'localhost');
  await expect(kek({ address }).health()).rejects.toEqual(failing('KekUntrusted'));
  const caFile = join(dir, 'ca.pem');
  writeFileSync(caFile, authority().pem);
  const one = kek({ address, caFile });
  await expect(one.health()).rejects.toEqual(failing('KekUntrusted'));
  // Mended without a restart.
  writeFileSync(caFile, ca.pem);
  await one.health();
  await expect(kek({ address, caFile: join(dir, 'none') }).health()).rejects.toEqual(failing('KekUntrusted'));
});

test('plain http is for this machine alone', () => {
  expect(() => kek({ address: 'http://vault.example:8200' })).toThrow(failing('KekUnsuitable'));
  for (const address of ['http://localhost:1', 'http://[::1]:1', 'https://vault.example:8200']) kek({ address });
});

function authority(): { pem: string; leaf: { key: string; cert: string } } {
  const [ca, leaf] = [generateP256(), generateP256()];
  const nowMs = Date.now();
  const validity = { notBefore: new Date(nowMs - HOUR_MS), notAfter: new Date(nowMs + HOUR_MS) };
  const issuer = { commonName: 'test CA', privateKey: ca.privateKey };
  const root = issueCertificate({
    commonName: 'test CA',
    publicKey: ca.publicKey,
    ...validity,
    issuer,
    ca: { pathLength: 0 },
  });
  const { der } = issueCertificate({
    commonName: 'vault',
    publicKey: leaf.publicKey,
    ...validity,
    issuer,
    dnsNames: ['localhost'],
    usages: ['serverAuth'],
  });
  return {
    pem: toPem(root.der),
    leaf: { key: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), cert: toPem(der) },
  };
}
