import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { bytesOf, CLASS_CONTEXT, decodeDer, der, encodeDer, type Node, partsOf } from './x509/der.ts';
import { extensions, keyIdOf, OID, type Usage } from './x509/extensions.ts';

export type { Usage };

export interface Issuer {
  commonName: string;
  /** P-256. */
  privateKey: KeyObject;
  /** The issuer's own certificate: its exact subject and key identifier are then copied. Needed where it was not issued by `issueCertificate`. */
  certificateDer?: Buffer;
}

/** What a certificate says; it is self-signed if the issuer has the same name and key. */
export interface CertificateRequest {
  /** 1 to 64 characters. */
  commonName: string;
  publicKey: KeyObject;
  notBefore: Date;
  notAfter: Date;
  issuer: Issuer;
  /** Makes it a CA; `pathLength` 0 to 127 more CAs may stand below it. */
  ca?: { pathLength: number };
  dnsNames?: readonly string[];
  ipAddresses?: readonly string[];
  uris?: readonly string[];
  usages?: readonly Usage[];
  /** Big-endian, not zero, its first bit clear, at most 20 bytes; 16 random bytes if left out. */
  serialNumber?: Buffer;
}

export interface IssuedCertificate {
  der: Buffer;
  /** Hexadecimal as X509Certificate.serialNumber prints it. */
  serialNumber: string;
}

const VERSION_3 = der.explicit(0, der.integer(Buffer.of(2)));
const SIGNATURE_ALGORITHM = der.sequence(der.oid(OID.ecdsaWithSha256));
const SUBJECT_KEY_IDENTIFIER = bytesOf(der.oid(OID.subjectKeyIdentifier));
const COMMON_NAME_LIMIT = 64;
const SERIAL_NUMBER_LIMIT_BYTES = 20;

/**
 * Issues an X.509 v3 certificate, signed with ECDSA over P-256 and SHA-256 (RFC 5280, RFC 5758 section 3.2).
 *
 * @throws RangeError for a name, address or serial number that a certificate cannot carry.
 */
export function issueCertificate(request: CertificateRequest): IssuedCertificate {
  const { issuer, serialNumber = randomSerialNumber() } = request;
  checkSerialNumber(serialNumber);
  const keyId = keyIdOf(request.publicKey);
  const authority = issuerOf(issuer);
  const toBeSigned = der.sequence(
    VERSION_3,
    der.integer(serialNumber),
    SIGNATURE_ALGORITHM,
    authority.name,
    der.sequence(der.time(request.notBefore), der.time(request.notAfter)),
    nameOf(request.commonName),
    decodeDer(request.publicKey.export({ type: 'spki', format: 'der' })),
    extensions({ ...request, keyId, issuerKeyId: authority.keyId }),
  );
  const signature = sign('sha256', encodeDer(toBeSigned), issuer.privateKey);
  return {
    der: encodeDer(der.sequence(toBeSigned, SIGNATURE_ALGORITHM, der.bits(signature))),
    serialNumber: serialNumber
      .toString('hex')
      .toUpperCase()
      .replace(/^(00)+/, ''),
  };
}

export function toPem(certificateDer: Buffer): string {
  const lines = certificateDer.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

export function generateP256(): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** Positive, and 16 bytes in DER whatever the chance (RFC 5280 section 4.1.2.2 wants at most 20). */
function randomSerialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes;
}

function checkSerialNumber(bytes: Buffer): void {
  const negative = (bytes[0] ?? 0x80) >= 0x80;
  if (negative || bytes.length > SERIAL_NUMBER_LIMIT_BYTES || bytes.every((byte) => byte === 0)) {
    throw new RangeError('serialNumber must be positive and at most 20 bytes long');
  }
}

function nameOf(commonName: string): Node {
  if (commonName === '' || commonName.length > COMMON_NAME_LIMIT) {
    throw new RangeError(`commonName must have 1 to ${COMMON_NAME_LIMIT} characters: ${JSON.stringify(commonName)}`);
  }
  return der.sequence(der.set(der.sequence(der.oid(OID.commonName), der.utf8(commonName))));
}

function issuerOf(issuer: Issuer): { name: Node; keyId: Buffer } {
  const { certificateDer, commonName, privateKey } = issuer;
  if (certificateDer === undefined) {
    return { name: nameOf(commonName), keyId: keyIdOf(createPublicKey(privateKey)) };
  }
  const fields = partsOf(partsOf(decodeDer(certificateDer))[0]);
  const list = partsOf(partsOf(fields.find((field) => field.tagClass === CLASS_CONTEXT && field.type === 3))[0]);
  const found = list.map(partsOf).find(([oid]) => bytesOf(oid).equals(SUBJECT_KEY_IDENTIFIER));
  if (found === undefined) throw new RangeError('the issuer certificate has no subject key identifier');
  return { name: fields[5]!, keyId: bytesOf(decodeDer(bytesOf(found.at(-1)))) };
}
