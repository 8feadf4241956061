import asn1, { type Node } from 'node-forge/lib/asn1.js';

export type { Node };

const { Type } = asn1;
const CLASS_UNIVERSAL = 0x00;
export const CLASS_CONTEXT = 0x80;

/** Writers for the ASN.1 types that a certificate is made of (X.690 DER). */
export const der = {
  sequence: (...parts: Node[]): Node => asn1.create(CLASS_UNIVERSAL, Type.SEQUENCE, true, parts),
  set: (...parts: Node[]): Node => asn1.create(CLASS_UNIVERSAL, Type.SET, true, parts),
  oid: (dotted: string): Node => asn1.create(CLASS_UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes()),
  /** Two's complement, big-endian, in as few bytes as can be. */
  integer: (bytes: Buffer): Node => asn1.create(CLASS_UNIVERSAL, Type.INTEGER, false, bytes.toString('latin1')),
  boolean: (value: boolean): Node => asn1.create(CLASS_UNIVERSAL, Type.BOOLEAN, false, value ? '\xff' : '\0'),
  octets: (bytes: Buffer): Node => asn1.create(CLASS_UNIVERSAL, Type.OCTETSTRING, false, bytes.toString('latin1')),
  /** `unused`: bits of the last byte that do not count. */
  bits: (bytes: Buffer, unused = 0): Node =>
    asn1.create(CLASS_UNIVERSAL, Type.BITSTRING, false, String.fromCharCode(unused) + bytes.toString('latin1')),
  utf8: (text: string): Node => asn1.create(CLASS_UNIVERSAL, Type.UTF8, false, Buffer.from(text).toString('latin1')),
  /** UTCTime until 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5). */
  time: (date: Date): Node =>
    date.getUTCFullYear() < 2050
      ? asn1.create(CLASS_UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(date))
      : asn1.create(CLASS_UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date)),
  /** `[tag] EXPLICIT`. */
  explicit: (tag: number, content: Node): Node => asn1.create(CLASS_CONTEXT, tag, true, [content]),
  /** `[tag] IMPLICIT` of a primitive type. */
  implicit: (tag: number, bytes: Buffer): Node => asn1.create(CLASS_CONTEXT, tag, false, bytes.toString('latin1')),
};

export function encodeDer(node: Node): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1');
}

/** @throws Error if `bytes` are no DER. */
export function decodeDer(bytes: Buffer): Node {
  return asn1.fromDer(bytes.toString('latin1'), { decodeBitStrings: false });
}

/** The parts of a constructed node. @throws Error if it is a primitive. */
export function partsOf(node: Node | undefined): Node[] {
  if (node === undefined || typeof node.value === 'string') throw new Error('not a certificate: unexpected ASN.1 type');
  return node.value;
}

/** The bytes of a primitive node. @throws Error if it is constructed. */
export function bytesOf(node: Node | undefined): Buffer {
  if (node === undefined || typeof node.value !== 'string') throw new Error('not a certificate: unexpected ASN.1 type');
  return Buffer.from(node.value, 'latin1');
}
