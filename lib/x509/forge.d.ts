/** The part of node-forge's ASN.1 module that we use: importing the whole of node-forge costs memory that the sidecar does not have. */
declare module 'node-forge/lib/asn1.js' {
  import type { asn1 as Full } from 'node-forge';

  export interface Node {
    tagClass: number;
    type: number;
    constructed: boolean;
    /** Latin-1 bytes of a primitive, or the parts of a constructed one. */
    value: string | Node[];
  }

  const asn1: {
    Type: typeof Full.Type;
    create(tagClass: number, type: number, constructed: boolean, value: string | Node[]): Node;
    fromDer(bytes: string, options: { decodeBitStrings: boolean }): Node;
    toDer(node: Node): { getBytes(): string };
    oidToDer(oid: string): { getBytes(): string };
    dateToUtcTime(date: Date): string;
    dateToGeneralizedTime(date: Date): string;
  };
  export default asn1;
}
