import { createHash, createPublicKey, verify } from 'node:crypto';
import type { AuditCheckpoint, AuditEntry, AuditHead, AuditKeyLink } from '../api/admin.ts';

/** The chain of a store of one process; entries and heads that name no chain are of this one. */
export const SOLE_AUDIT_CHAIN = 'store';

/** `previousHash` of the first entry of the sole chain. */
export const AUDIT_GENESIS = '0'.repeat(64);

/** `previousHash` of the first entry of a chain: it depends on the name, so that no entry of one chain passes for one of another. */
export function auditGenesis(chain: string): string {
  return chain === SOLE_AUDIT_CHAIN
    ? AUDIT_GENESIS
    : createHash('sha256').update(`sidekey audit chain\n${chain}`).digest('hex');
}

/**
 * JSON with one spelling per value: keys sorted by code unit, no white space, undefined members left out (as RFC 8785, for
 * the values that events have).
 *
 * @throws TypeError for what JSON cannot carry back unchanged, such as NaN or a Buffer.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return JSON.stringify(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype) {
    const members = Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
    return `{${members.join(',')}}`;
  }
  throw new TypeError(`canonical JSON has no ${typeof value}`);
}

/** SHA-256, in hexadecimal, over the previous hash and everything else that the entry says. */
export function auditHash(entry: Omit<AuditEntry, 'hash'>): string {
  const { seq, at, event, previousHash } = entry;
  return createHash('sha256')
    .update(`${previousHash}\n${canonicalJson({ seq, at, event })}`)
    .digest('hex');
}

/** What the signature of a head covers. */
export function auditHeadBytes(head: Pick<AuditHead, 'chain' | 'seq' | 'hash' | 'at'>): Buffer {
  const { chain, seq, hash, at } = head;
  return Buffer.from(`sidekey audit head\n${canonicalJson({ chain, seq, hash, at })}`);
}

/** What the signature of a checkpoint covers; no head passes for one. */
export function auditCheckpointBytes(checkpoint: Omit<AuditCheckpoint, 'signature' | 'publicKeyPem'>): Buffer {
  const { chain, seq, hash, at, pruned } = checkpoint;
  return Buffer.from(`sidekey audit checkpoint\n${canonicalJson({ chain, seq, hash, at, pruned })}`);
}

/** What both signatures of a key link cover. */
export function auditKeyLinkBytes(link: Pick<AuditKeyLink, 'previousPublicKeyPem' | 'publicKeyPem'>): Buffer {
  const { previousPublicKeyPem, publicKeyPem } = link;
  return Buffer.from(`sidekey audit key\n${canonicalJson({ previousPublicKeyPem, publicKeyPem })}`);
}

/** Whether the head was signed with the key it names. */
export function auditHeadSigned(head: AuditHead): boolean {
  return signed(() => auditHeadBytes(head), head.signature, head.publicKeyPem);
}

/** Whether the checkpoint was signed with the key it names. */
export function auditCheckpointSigned(checkpoint: AuditCheckpoint): boolean {
  return signed(() => auditCheckpointBytes(checkpoint), checkpoint.signature, checkpoint.publicKeyPem);
}

/** Whether both keys have signed the link. */
export function auditKeyLinkSigned(link: AuditKeyLink): boolean {
  const bytes = () => auditKeyLinkBytes(link);
  return (
    signed(bytes, link.previousSignature, link.previousPublicKeyPem) && signed(bytes, link.signature, link.publicKeyPem)
  );
}

/** `bytes` is called within: what has no canonical form was not signed. */
function signed(bytes: () => Buffer, signature: string, publicKeyPem: string): boolean {
  try {
    const key = createPublicKey(publicKeyPem);
    return key.asymmetricKeyType === 'ed25519' && verify(null, bytes(), key, Buffer.from(signature, 'base64'));
  } catch {
    return false;
  }
}
