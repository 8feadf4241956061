import { createPrivateKey, X509Certificate } from 'node:crypto';
import { generateP256, issueCertificate, toPem } from '../../lib/x509.ts';

const DAY_MS = 24 * 3_600_000;
const LIFE_MS = 30 * DAY_MS;
const RENEW_AFTER_MS = 20 * DAY_MS;
/** Whoever verifies a certificate may have another time than who issues it: five minutes, and as much again. */
const BACKDATED_MS = 10 * 60_000;

/** A certificate of the webhook with its key, and the CA that it is under. */
export interface Pair {
  certPem: string;
  keyPem: string;
  caPem: string;
}

/**
 * A leaf under a CA of its own, whose key is gone when this returns: nobody can steal what is not kept, and there is one way of
 * renewal instead of two (docs/adr/0024-the-webhook-s-certificate.md).
 */
export function issuePair(
  names: { dnsNames: readonly string[]; ipAddresses?: readonly string[] },
  nowMs: number,
): Pair {
  const validity = { notBefore: new Date(nowMs - BACKDATED_MS), notAfter: new Date(nowMs + LIFE_MS) };
  const ca = generateP256();
  // A name of its own: a verifier finds issuers by it.
  const commonName = `Sidekey webhook CA ${new Date(nowMs).toISOString().slice(0, 19)}Z`;
  const issuer = { commonName, privateKey: ca.privateKey };
  const root = issueCertificate({ ...validity, commonName, publicKey: ca.publicKey, issuer, ca: { pathLength: 0 } });
  const leaf = generateP256();
  const certificate = issueCertificate({
    ...validity,
    commonName: 'sidekey-webhook',
    publicKey: leaf.publicKey,
    issuer: { ...issuer, certificateDer: root.der },
    dnsNames: names.dnsNames,
    ...(names.ipAddresses && { ipAddresses: names.ipAddresses }),
    usages: ['serverAuth'],
  });
  return {
    certPem: toPem(certificate.der),
    keyPem: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    caPem: toPem(root.der),
  };
}

/** What is wrong with what is claimed to be a pair: not to be read, another key, no CA of the bundle, not valid now, other names. */
export function readPair(
  { bundle, certPem, keyPem }: { certPem: string; keyPem: string; bundle: readonly string[] },
  names: readonly string[],
  nowMs: number,
): Pair | undefined {
  try {
    const leaf = new X509Certificate(certPem);
    if (!leaf.checkPrivateKey(createPrivateKey(keyPem))) return undefined;
    if (!validAt(leaf, nowMs) || !names.every((name) => leaf.checkHost(name) !== undefined)) return undefined;
    const caPem = bundle.find((pem) => {
      const ca = new X509Certificate(pem);
      return validAt(ca, nowMs) && leaf.checkIssued(ca) && leaf.verify(ca.publicKey);
    });
    return caPem === undefined ? undefined : { certPem, keyPem, caPem };
  } catch {
    return undefined;
  }
}

export function dueForRenewal({ certPem }: Pair, nowMs: number): boolean {
  const issuedMs = new X509Certificate(certPem).validFromDate.getTime() + BACKDATED_MS;
  return nowMs >= issuedMs + RENEW_AFTER_MS;
}

/** The certificates of a text that are such and valid, in one form each, without doubles. */
export function certificatesOf(pem: string, nowMs: number): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const valid = blocks.flatMap((block) => {
    try {
      const certificate = new X509Certificate(block);
      return validAt(certificate, nowMs) ? [toPem(certificate.raw)] : [];
    } catch {
      return [];
    }
  });
  return [...new Set(valid)];
}

/** By a clock that may be behind the issuer's. */
function validAt(certificate: X509Certificate, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs + BACKDATED_MS && certificate.validToDate.getTime() > nowMs;
}
