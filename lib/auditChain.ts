import { createHash, createPublicKey, verify } from 'node:crypto';
import type { AuditEntry, AuditHead } from '../api/admin.ts';
import { errorText } from './errors.ts';

/** `previousHash` of the first entry. */
export const AUDIT_GENESIS = '0'.repeat(64);

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
export function auditHeadBytes(head: Pick<AuditHead, 'seq' | 'hash' | 'at'>): Buffer {
  return Buffer.from(`sidekey audit head\n${canonicalJson({ seq: head.seq, hash: head.hash, at: head.at })}`);
}

/** Whether the head was signed with the key it names. */
export function auditHeadSigned(head: AuditHead): boolean {
  try {
    const key = createPublicKey(head.publicKeyPem);
    return (
      key.asymmetricKeyType === 'ed25519' &&
      verify(null, auditHeadBytes(head), key, Buffer.from(head.signature, 'base64'))
    );
  } catch {
    return false;
  }
}

export interface AuditVerdict {
  /** Entries that were read. */
  entries: number;
  /** In the order they were found; empty if the audit is whole. */
  problems: { seq: number; message: string }[];
}

/**
 * Reads a whole chain, first entry first, and checks that nothing in it was edited, left out or cut off.
 *
 * `heads` are signed heads from wherever one was kept (the store, the audit.head file): each must be signed by the same key and
 * name an entry of the chain. Read the head from a running store before the entries: the chain may be longer than a head, never shorter.
 */
export async function verifyAudit(
  entries: AsyncIterable<AuditEntry> | Iterable<AuditEntry>,
  heads: readonly AuditHead[],
): Promise<AuditVerdict> {
  const problems: AuditVerdict['problems'] = headProblems(heads);
  let count = 0;
  let last = { seq: 0, hash: AUDIT_GENESIS };
  for await (const entry of entries) {
    count += 1;
    const message = entryProblem(entry, last);
    if (message !== undefined) problems.push({ seq: entry.seq, message });
    for (const head of heads) {
      if (head.seq === entry.seq && head.hash !== entry.hash)
        problems.push({ seq: entry.seq, message: `the signed head of ${head.at} has another hash for this entry` });
    }
    last = entry;
  }
  for (const head of heads) {
    if (head.seq > last.seq)
      problems.push({
        seq: last.seq,
        message: `the chain ends here, but a head of ${head.at} was signed at entry ${head.seq}: the end was cut off`,
      });
  }
  return { entries: count, problems };
}

function entryProblem(entry: AuditEntry, last: { seq: number; hash: string }): string | undefined {
  if (entry.seq !== last.seq + 1) return `entry ${last.seq} is followed by ${entry.seq}: entries were removed or moved`;
  if (entry.previousHash !== last.hash) return 'its previousHash is not the hash of the entry before it';
  try {
    if (auditHash(entry) !== entry.hash) return 'its content does not have its hash: it was edited';
  } catch (error) {
    return `its content cannot be hashed: ${errorText(error)}`;
  }
  return undefined;
}

function headProblems(heads: readonly AuditHead[]): AuditVerdict['problems'] {
  return heads.flatMap((head) => {
    if (!auditHeadSigned(head)) return [{ seq: head.seq, message: 'the signature of the head does not verify' }];
    if (head.publicKeyPem !== heads[0]?.publicKeyPem)
      return [{ seq: head.seq, message: 'two heads are signed by different keys' }];
    return [];
  });
}
