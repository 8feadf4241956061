import { isIP } from 'node:net';
import { generateP256, issueCertificate, toPem } from '../../lib/x509.ts';

const HOUR_MS = 3_600_000;

/** PEM, as `https.createServer` takes them. */
export interface UpstreamTls {
  readonly cert: string;
  readonly key: string;
}

/** A CA for look-alikes of upstreams, and the certificates it issues for DNS names and IP addresses. */
export function createUpstreamCa(commonName = 'Sidekey look-alike CA') {
  const { privateKey, publicKey } = generateP256();
  const now = Date.now();
  const validity = { notBefore: new Date(now - HOUR_MS), notAfter: new Date(now + 24 * HOUR_MS) };
  const issuer = { commonName, privateKey };
  const ca = issueCertificate({ commonName, publicKey, ...validity, issuer, ca: { pathLength: 0 } });
  return {
    pem: toPem(ca.der),
    issue(names: readonly string[]): UpstreamTls {
      const keys = generateP256();
      const { der } = issueCertificate({
        commonName: 'look-alike',
        publicKey: keys.publicKey,
        dnsNames: names.filter((name) => isIP(name) === 0),
        ipAddresses: names.filter((name) => isIP(name) !== 0),
        usages: ['serverAuth'],
        issuer,
        ...validity,
      });
      return { cert: toPem(der), key: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() };
    },
  };
}
