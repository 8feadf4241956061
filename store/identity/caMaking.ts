import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { generateP256, issueCertificate, toPem } from '../../lib/x509.ts';
import { type CaIntermediate, type CaRoot, newCaId } from './caState.ts';

const DAY_MS = 86_400_000;
/** How far back certificates of CAs are dated, for whoever's clock is behind. */
export const CA_BACKDATE_MS = DAY_MS;
const ROOT_LIFETIME_MS = 3650 * DAY_MS;

/** A self-signed certificate for the key. */
export function rootCertificatePem(commonName: string, privateKey: KeyObject, nowMs: number): string {
  const { der } = issueCertificate({
    commonName,
    publicKey: createPublicKey(privateKey),
    notBefore: new Date(nowMs - CA_BACKDATE_MS),
    notAfter: new Date(nowMs + ROOT_LIFETIME_MS),
    issuer: { commonName, privateKey },
    ca: { pathLength: 1 },
  });
  return toPem(der);
}

/** A new root and its key in PKCS #8, which the caller overwrites. */
export function makeRoot(nowMs: number): { root: CaRoot; keyDer: Buffer } {
  const id = newCaId();
  const { privateKey } = generateP256();
  const certificatePem = rootCertificatePem(`Sidekey store CA ${id}`, privateKey, nowMs);
  return { root: { id, certificatePem, createdAtMs: nowMs, keyName: `ca key ${id}` }, keyDer: pkcs8(privateKey) };
}

/** A new intermediate below the root and its key in PKCS #8, which the caller overwrites. */
export function makeIntermediate(options: { root: CaRoot; rootKey: KeyObject; nowMs: number; seconds: number }): {
  intermediate: CaIntermediate;
  keyDer: Buffer;
} {
  const { root, rootKey, nowMs, seconds } = options;
  const id = newCaId();
  const { privateKey, publicKey } = generateP256();
  const { der } = issueCertificate({
    commonName: `Sidekey store issuing CA ${id}`,
    publicKey,
    notBefore: new Date(nowMs - CA_BACKDATE_MS),
    notAfter: new Date(nowMs + seconds * 1000),
    issuer: {
      commonName: root.id,
      privateKey: rootKey,
      certificateDer: new X509Certificate(root.certificatePem).raw,
    },
    ca: { pathLength: 0 },
  });
  const intermediate = { id, root: root.id, certificatePem: toPem(der), createdAtMs: nowMs };
  return { intermediate, keyDer: pkcs8(privateKey) };
}

function pkcs8(key: KeyObject): Buffer {
  return key.export({ type: 'pkcs8', format: 'der' });
}
