import { createHash } from 'node:crypto';

const MAGIC = 0xfeedfeed;
const VERSION = 2;
const TRUSTED_CERTIFICATE = 2;
/** Protects nothing (certificates are public); it is what every Java installation has for its own trust store. */
export const TRUST_STORE_PASSWORD = 'changeit';

/**
 * A Java trust store (format JKS, which every JDK reads) with the certificates of a PEM bundle; made here, as keytool would take a
 * second per hundred of them and is not there without a JDK.
 *
 * Layout: sun.security.provider.JavaKeyStore, big-endian: magic, version, number of entries; each entry its kind, alias, time and
 * certificate; at the end SHA-1 over the password in UTF-16, `Mighty Aphrodite` and all before it.
 */
export function javaTrustStore(bundlePem: string, now: Date): Buffer {
  const certificates = certificatesOf(bundlePem);
  const parts = [uint32(MAGIC), uint32(VERSION), uint32(certificates.length)];
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(now.getTime()));
  certificates.forEach((certificate, index) => {
    parts.push(uint32(TRUSTED_CERTIFICATE), utf(`sidekey-${index}`), time, utf('X.509'));
    parts.push(uint32(certificate.length), certificate);
  });
  const content = Buffer.concat(parts);
  const digest = createHash('sha1')
    .update(Buffer.from(TRUST_STORE_PASSWORD, 'utf16le').swap16())
    .update('Mighty Aphrodite')
    .update(content)
    .digest();
  return Buffer.concat([content, digest]);
}

/** Each certificate of a PEM text in DER, once. */
function certificatesOf(pem: string): Buffer[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const unique = new Set(blocks.map((block) => block.replace(/-----[^-]+-----|\s/g, '')));
  return [...unique].map((base64) => Buffer.from(base64, 'base64'));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** java.io.DataOutput.writeUTF, for ASCII. */
function utf(text: string): Buffer {
  const bytes = Buffer.alloc(2 + text.length);
  bytes.write(text, 2, 'latin1');
  bytes.writeUInt16BE(text.length);
  return bytes;
}
