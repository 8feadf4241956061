import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { STORE_DNS_NAME } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import { generateP256, issueCertificate, toPem } from '../../lib/x509.ts';
import { storeError } from '../errors.ts';
import type { Repository } from '../persist/repository.ts';
import { ownKey } from '../vault/ownKey.ts';
import type { Vault } from '../vault/vault.ts';

const ROOT_NAME = 'Sidekey store CA';
const ROOT_CERTIFICATE = 'ca certificate';
const DAY_MS = 86_400_000;
const ROOT_LIFETIME_MS = 3650 * DAY_MS;
/** How far back certificates are dated, for clients whose clock is behind. */
const BACKDATE_MS = 5 * 60_000;

export interface ClientCertificate {
  pem: string;
  serial: string;
  fingerprint: string;
}

/** Issues the identities that sidecars, the operator and the store itself show each other; P-256, its key in the database under the KEK. */
export class CertificateAuthority {
  readonly trustBundlePem: string;
  readonly publicKey: KeyObject;
  readonly #privateKey: KeyObject;
  readonly #clock: Clock;

  private constructor(options: { certificateDer: Buffer; privateKey: KeyObject; clock: Clock }) {
    this.trustBundlePem = toPem(options.certificateDer);
    this.publicKey = createPublicKey(options.privateKey);
    this.#privateKey = options.privateKey;
    this.#clock = options.clock;
  }

  static async load(repository: Repository, vault: Vault, clock: Clock): Promise<CertificateAuthority> {
    const der = await ownKey(repository, vault, 'ca key', () =>
      generateP256().privateKey.export({ type: 'pkcs8', format: 'der' }),
    );
    const privateKey = createPrivateKey({ key: der, type: 'pkcs8', format: 'der' });
    der.fill(0);
    const certificateDer = await repository.transaction(async (tx) => {
      const found = await tx.meta(ROOT_CERTIFICATE);
      if (found !== undefined) return found;
      const issued = rootCertificate(privateKey, clock.nowMs());
      await tx.setMeta(ROOT_CERTIFICATE, issued);
      return issued;
    });
    if (!new X509Certificate(certificateDer).checkPrivateKey(privateKey))
      throw storeError(
        'DatabaseDamaged',
        'The CA certificate in the database was changed: it is not for the CA key. Restore a backup.',
      );
    return new CertificateAuthority({ certificateDer, privateKey, clock });
  }

  issueClient(request: { publicKey: KeyObject; spiffeId: string; seconds: number }): ClientCertificate {
    const { publicKey, spiffeId, seconds } = request;
    const { der } = issueCertificate({
      commonName: 'sidekey client',
      publicKey,
      ...this.#validity(seconds * 1000),
      issuer: { commonName: ROOT_NAME, privateKey: this.#privateKey },
      uris: [spiffeId],
      usages: ['clientAuth'],
    });
    const { serialNumber, fingerprint256 } = new X509Certificate(der);
    return { pem: toPem(der), serial: serialNumber, fingerprint: fingerprint256 };
  }

  /** A new key and certificate for the store's own listener. */
  issueServer(spiffeId: string, lifetimeMs: number): { keyPem: string; certificatePem: string } {
    const { privateKey, publicKey } = generateP256();
    const { der } = issueCertificate({
      commonName: STORE_DNS_NAME,
      publicKey,
      ...this.#validity(lifetimeMs),
      issuer: { commonName: ROOT_NAME, privateKey: this.#privateKey },
      dnsNames: [STORE_DNS_NAME],
      uris: [spiffeId],
      usages: ['serverAuth'],
    });
    return {
      keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      certificatePem: toPem(der),
    };
  }

  #validity(lifetimeMs: number): { notBefore: Date; notAfter: Date } {
    const nowMs = this.#clock.nowMs();
    return { notBefore: new Date(nowMs - BACKDATE_MS), notAfter: new Date(nowMs + lifetimeMs) };
  }
}

/** The key of a join or renewal. @throws MalformedRequest unless it is P-256. */
export function clientPublicKey(pem: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw storeError('MalformedRequest', 'publicKeyPem is no public key in PEM.');
  }
  if (pem.includes('PRIVATE KEY') || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw storeError('MalformedRequest', 'publicKeyPem must be a P-256 public key (SubjectPublicKeyInfo).');
  return key;
}

function rootCertificate(privateKey: KeyObject, nowMs: number): Buffer {
  return issueCertificate({
    commonName: ROOT_NAME,
    publicKey: createPublicKey(privateKey),
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + ROOT_LIFETIME_MS),
    issuer: { commonName: ROOT_NAME, privateKey },
    ca: { pathLength: 1 },
  }).der;
}
