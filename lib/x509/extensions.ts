import { createHash, type KeyObject } from 'node:crypto';
import { addressBytes } from '../addressBytes.ts';
import { bytesOf, decodeDer, der, encodeDer, type Node, partsOf } from './der.ts';

export const OID = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** digitalSignature (bit 0), and keyCertSign with cRLSign (bits 5 and 6), as KeyUsage of RFC 5280 section 4.2.1.3. */
const LEAF_KEY_USAGE = der.bits(Buffer.of(0b1000_0000), 7);
const CA_KEY_USAGE = der.bits(Buffer.of(0b0000_0110), 1);

export type Usage = 'serverAuth' | 'clientAuth';

export interface ExtensionRequest {
  keyId: Buffer;
  issuerKeyId: Buffer;
  ca?: { pathLength: number } | undefined;
  dnsNames?: readonly string[] | undefined;
  ipAddresses?: readonly string[] | undefined;
  uris?: readonly string[] | undefined;
  usages?: readonly Usage[] | undefined;
}

/** The extensions of a certificate (RFC 5280 section 4.2.1) as its `[3]` field. @throws RangeError for an address or name that is none. */
export function extensions(request: ExtensionRequest): Node {
  const { ca, keyId, issuerKeyId, usages = [] } = request;
  const list = [
    extension(
      OID.basicConstraints,
      ca === undefined ? der.sequence() : der.sequence(der.boolean(true), der.integer(Buffer.of(ca.pathLength))),
      true,
    ),
    extension(OID.keyUsage, ca === undefined ? LEAF_KEY_USAGE : CA_KEY_USAGE, true),
    extension(OID.subjectKeyIdentifier, der.octets(keyId)),
    extension(OID.authorityKeyIdentifier, der.sequence(der.implicit(0, issuerKeyId))),
  ];
  if (usages.length > 0)
    list.push(extension(OID.extendedKeyUsage, der.sequence(...usages.map((u) => der.oid(OID[u])))));
  const names = generalNames(request);
  if (names.length > 0) list.push(extension(OID.subjectAltName, der.sequence(...names)));
  return der.explicit(3, der.sequence(...list));
}

/** Key identifier: the leftmost 160 bits of SHA-256 over the public key (RFC 7093 section 2, method 1). */
export function keyIdOf(publicKey: KeyObject): Buffer {
  const bitString = bytesOf(partsOf(decodeDer(publicKey.export({ type: 'spki', format: 'der' })))[1]);
  return createHash('sha256').update(bitString.subarray(1)).digest().subarray(0, 20);
}

function extension(oid: string, value: Node, critical = false): Node {
  const body = der.octets(encodeDer(value));
  return critical ? der.sequence(der.oid(oid), der.boolean(true), body) : der.sequence(der.oid(oid), body);
}

function generalNames({ dnsNames = [], ipAddresses = [], uris = [] }: ExtensionRequest): Node[] {
  return [
    ...dnsNames.map((name) => der.implicit(2, ia5(name))),
    ...uris.map((uri) => der.implicit(6, ia5(uri))),
    ...ipAddresses.map((address) => der.implicit(7, ipBytes(address))),
  ];
}

function ia5(text: string): Buffer {
  if (!/^[\x21-\x7e]+$/.test(text)) throw new RangeError(`not an ASCII name: ${JSON.stringify(text)}`);
  return Buffer.from(text, 'latin1');
}

function ipBytes(address: string): Buffer {
  const bytes = addressBytes(address);
  if (bytes === undefined) throw new RangeError(`not an IP address: ${JSON.stringify(address)}`);
  return bytes;
}
