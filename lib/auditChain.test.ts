import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { expect, test } from 'vitest';
import type { AuditEntry, AuditEvent, AuditHead } from '../api/admin.ts';
import { AUDIT_GENESIS, auditHash, auditHeadBytes, auditHeadSigned, canonicalJson, verifyAudit } from './auditChain.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');

function chain(count: number, event: (seq: number) => AuditEvent = (seq) => ({ kind: 'test', n: seq })): AuditEntry[] {
  const entries: AuditEntry[] = [];
  for (let seq = 1; seq <= count; seq += 1) {
    const previousHash = entries.at(-1)?.hash ?? AUDIT_GENESIS;
    const rest = { seq, at: `2026-01-01T00:00:00.00${seq}Z`, event: event(seq), previousHash };
    entries.push({ ...rest, hash: auditHash(rest) });
  }
  return entries;
}

function headOf(entry: AuditEntry, key: KeyObject = privateKey, shown: KeyObject = publicKey): AuditHead {
  const { seq, hash, at } = entry;
  return {
    seq,
    hash,
    at,
    signature: sign(null, auditHeadBytes({ seq, hash, at }), key).toString('base64'),
    publicKeyPem: shown.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

async function problems(entries: AuditEntry[], heads: AuditHead[]): Promise<string[]> {
  return (await verifyAudit(entries, heads)).problems.map(({ seq, message }) => `${seq}: ${message}`);
}

test('a whole chain has no problems, nor one that has grown since its head was signed', async () => {
  const entries = chain(5);
  expect(await verifyAudit(entries, [headOf(entries[4]!)])).toEqual({ entries: 5, problems: [] });
  expect(await problems(entries, [headOf(entries[2]!), headOf(entries[4]!)])).toEqual([]);
  expect(await problems([], [])).toEqual([]);
});

test('an edited entry is found', async () => {
  const entries = chain(5);
  entries[2] = { ...entries[2]!, event: { kind: 'test', n: 99 } };
  expect(await problems(entries, [headOf(entries[4]!)])).toEqual([expect.stringMatching(/^3: .*edited/)]);
});

test('an entry edited together with its hash is found by the next', async () => {
  const entries = chain(5);
  const edited = { ...entries[2]!, event: { kind: 'test', n: 99 } };
  entries[2] = { ...edited, hash: auditHash(edited) };
  expect(await problems(entries, [headOf(entries[4]!)])).toEqual([expect.stringMatching(/^4: its previousHash/)]);
});

test('a deleted entry is found', async () => {
  const entries = chain(5);
  const head = headOf(entries[4]!);
  entries.splice(2, 1);
  expect(await problems(entries, [head])).toEqual([expect.stringMatching(/^4: .*removed/)]);
});

test('a chain cut off at its end is found by a head that was kept elsewhere', async () => {
  const entries = chain(5);
  const kept = headOf(entries[4]!);
  const shorter = entries.slice(0, 3);
  expect(await problems(shorter, [headOf(shorter[2]!), kept])).toEqual([expect.stringMatching(/^3: .*cut off/)]);
  expect(await problems([], [kept])).toEqual([expect.stringMatching(/^0: .*cut off/)]);
});

test('a chain rewritten as a whole is found by a head that was kept elsewhere', async () => {
  const kept = headOf(chain(3)[2]!);
  const rewritten = chain(3, (seq) => ({ kind: 'test', n: -seq }));
  expect(await problems(rewritten, [kept])).toEqual([expect.stringMatching(/^3: .*another hash/)]);
});

test('a head that is not signed by the key it names, or by another key than the others, is found', async () => {
  const entries = chain(3);
  const other = generateKeyPairSync('ed25519');
  const forged = headOf(entries[2]!, other.privateKey);
  const foreign = headOf(entries[2]!, other.privateKey, other.publicKey);
  expect(auditHeadSigned(foreign)).toBe(true);
  expect(await problems(entries, [forged])).toEqual([expect.stringMatching(/signature/)]);
  expect(await problems(entries, [headOf(entries[2]!), foreign])).toEqual([expect.stringMatching(/different keys/)]);
  expect(auditHeadSigned({ ...forged, publicKeyPem: 'nonsense' })).toBe(false);
});

test('canonical JSON has one spelling per value', () => {
  expect(canonicalJson({ b: [1, 'x', null, true], a: { d: undefined, c: 'é\u2028\ud800' } })).toBe(
    '{"a":{"c":"é\u2028\\ud800"},"b":[1,"x",null,true]}',
  );
  expect(() => canonicalJson({ n: Number.NaN })).toThrow(TypeError);
  expect(() => canonicalJson({ secret: Buffer.from('x') })).toThrow(TypeError);
});
