import { execFileSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CertificateRequest, generateP256, issueCertificate, toPem } from './x509.ts';

const DAY_MS = 86_400_000;
const now = Date.now();
const validity = { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + DAY_MS) };

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'x509-'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const rootKeys = generateP256();
const rootIssuer = { commonName: 'Test root', privateKey: rootKeys.privateKey };
const root = issueCertificate({
  commonName: 'Test root',
  publicKey: rootKeys.publicKey,
  ...validity,
  issuer: rootIssuer,
  ca: { pathLength: 1 },
});

function leaf(changes: Partial<CertificateRequest> = {}) {
  return issueCertificate({
    commonName: 'leaf',
    publicKey: generateP256().publicKey,
    ...validity,
    issuer: rootIssuer,
    dnsNames: ['api.example.com'],
    usages: ['serverAuth'],
    ...changes,
  });
}

function intermediate(name: string, issuer: CertificateRequest['issuer'], pathLength: number) {
  const { privateKey, publicKey } = generateP256();
  const certificate = issueCertificate({ commonName: name, publicKey, ...validity, issuer, ca: { pathLength } });
  return { ...certificate, issuer: { commonName: name, privateKey } };
}

/** What `openssl verify -x509_strict` says of a chain: its whole output, or the error text. */
function opensslVerify(leafDer: Buffer, options: { untrusted?: Buffer[]; args?: string[]; rootDer?: Buffer } = {}) {
  const files = { root: join(dir, 'root.pem'), mid: join(dir, 'mid.pem'), leaf: join(dir, 'leaf.pem') };
  writeFileSync(files.root, toPem(options.rootDer ?? root.der));
  writeFileSync(files.mid, (options.untrusted ?? []).map(toPem).join(''));
  writeFileSync(files.leaf, toPem(leafDer));
  const untrusted = options.untrusted === undefined ? [] : ['-untrusted', files.mid];
  const args = ['verify', '-x509_strict', '-CAfile', files.root, ...untrusted, ...(options.args ?? []), files.leaf];
  try {
    return execFileSync('openssl', args, { stdio: 'pipe' }).toString();
  } catch (error) {
    return String((error as { stderr: Buffer }).stderr);
  }
}

describe('certificates pass openssl verify -x509_strict', () => {
  test('a leaf for a server, by its name', () => {
    expect(
      opensslVerify(leaf().der, { args: ['-purpose', 'sslserver', '-verify_hostname', 'api.example.com'] }),
    ).toMatch(/: OK\n$/);
    expect(opensslVerify(leaf().der, { args: ['-verify_hostname', 'other.example.com'] })).toMatch(/hostname mismatch/);
  });

  test('a leaf for a client is no server', () => {
    const { der } = leaf({
      usages: ['clientAuth'],
      dnsNames: [],
      uris: ['spiffe://sidekey.local/ns/default/sa/default'],
    });
    expect(opensslVerify(der, { args: ['-purpose', 'sslclient'] })).toMatch(/: OK\n$/);
    expect(opensslVerify(der, { args: ['-purpose', 'sslserver'] })).toMatch(/[Uu]nsuitable certificate purpose/);
  });

  test('the root itself, and a leaf without any name', () => {
    expect(opensslVerify(root.der)).toMatch(/: OK\n$/);
    expect(opensslVerify(leaf({ dnsNames: [], usages: [] }).der)).toMatch(/: OK\n$/);
  });

  test('an intermediate within the path length, and none beyond it', () => {
    const first = intermediate('first', rootIssuer, 0);
    expect(opensslVerify(leaf({ issuer: first.issuer }).der, { untrusted: [first.der] })).toMatch(/: OK\n$/);
    const second = intermediate('second', first.issuer, 0);
    expect(opensslVerify(leaf({ issuer: second.issuer }).der, { untrusted: [first.der, second.der] })).toMatch(
      /path length constraint exceeded/,
    );
  });

  test('a leaf issues nothing', () => {
    const { privateKey, publicKey } = generateP256();
    const mid = leaf({ commonName: 'no ca', publicKey });
    const below = leaf({ issuer: { commonName: 'no ca', privateKey } });
    expect(opensslVerify(below.der, { untrusted: [mid.der] })).toMatch(/invalid CA certificate|path length|keyusage/i);
  });

  test('an issuer made elsewhere, by its certificate', () => {
    const key = join(dir, 'other.key');
    const cert = join(dir, 'other.der');
    const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    execFileSync(
      'openssl',
      [
        ...args,
        '-addext',
        'keyUsage=critical,keyCertSign',
        '-subj',
        '/O=Other/CN=Other CA',
        '-keyout',
        key,
        '-outform',
        'DER',
        '-out',
        cert,
      ],
      {
        stdio: 'pipe',
      },
    );
    const rootDer = readFileSync(cert);
    const issuer = { commonName: 'Other CA', privateKey: createPrivateKey(readFileSync(key)), certificateDer: rootDer };
    expect(opensslVerify(leaf({ issuer }).der, { rootDer })).toMatch(/: OK\n$/);
    const { certificateDer: _, ...named } = issuer;
    expect(opensslVerify(leaf({ issuer: named }).der, { rootDer })).toMatch(/unable to get local issuer/);
  });
});

describe('X509Certificate reads back what was asked for', () => {
  test('names of every kind', () => {
    const uri = 'spiffe://sidekey.local/ns/default/sa/default';
    const { der } = leaf({
      dnsNames: ['a.example', '*.b.example'],
      ipAddresses: ['192.0.2.7', '2001:db8::7'],
      uris: [uri],
    });
    const certificate = new X509Certificate(der);
    expect(certificate.subjectAltName).toBe(
      `DNS:a.example, DNS:*.b.example, URI:${uri}, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7`,
    );
    expect(certificate.checkHost('x.b.example')).toBe('*.b.example');
    expect(certificate.checkIP('2001:db8::7')).toBe('2001:db8::7');
    expect(certificate.subject).toBe('CN=leaf');
    expect(certificate.issuer).toBe('CN=Test root');
  });

  test('issuer, key, validity and constraints', () => {
    const { publicKey } = generateP256();
    const certificate = new X509Certificate(leaf({ publicKey }).der);
    const authority = new X509Certificate(root.der);
    expect(certificate.verify(rootKeys.publicKey)).toBe(true);
    expect(certificate.verify(publicKey)).toBe(false);
    expect(certificate.checkIssued(authority)).toBe(true);
    expect(certificate.publicKey.equals(publicKey)).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(certificate.ca).toBe(false);
    expect(authority.ca).toBe(true);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(certificate.validFromDate.getTime()).toBe(Math.floor(validity.notBefore.getTime() / 1000) * 1000);
    expect(certificate.validToDate.getTime()).toBe(Math.floor(validity.notAfter.getTime() / 1000) * 1000);
  });

  test('a time beyond 2049', () => {
    const notAfter = new Date('2061-05-04T03:02:01Z');
    expect(new X509Certificate(leaf({ notAfter }).der).validToDate).toEqual(notAfter);
  });

  test('serial numbers: own ones of 16 positive bytes, given ones, none that is invalid', () => {
    for (let i = 0; i < 64; i++) {
      const { der, serialNumber } = leaf();
      expect(serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
      expect(new X509Certificate(der).serialNumber).toBe(serialNumber);
    }
    for (const given of ['01', '0001', '00ff', '7f00ff', `7f${'00'.repeat(19)}`]) {
      const { der, serialNumber } = leaf({ serialNumber: Buffer.from(given, 'hex') });
      expect(new X509Certificate(der).serialNumber).toBe(serialNumber);
    }
    for (const bad of ['', '00', '80', `7f${'00'.repeat(20)}`]) {
      expect(() => leaf({ serialNumber: Buffer.from(bad, 'hex') })).toThrow(RangeError);
    }
  });

  test('names that no certificate can carry are refused', () => {
    expect(() => leaf({ commonName: '' })).toThrow(RangeError);
    expect(() => leaf({ commonName: 'x'.repeat(65) })).toThrow(RangeError);
    expect(() => leaf({ dnsNames: ['bücher.example'] })).toThrow(RangeError);
    expect(() => leaf({ ipAddresses: ['256.1.1.1'] })).toThrow(RangeError);
  });
});
