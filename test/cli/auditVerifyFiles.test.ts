import { generateKeyPairSync, sign } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { AuditEntry, AuditHead } from '../../api/admin.ts';
import { auditCheckpointBytes, auditGenesis, auditHash, auditHeadBytes } from '../../lib/auditChain.ts';
import { sidekey, TestFolder } from './sidekey.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const publicKeyPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
const at = '2026-01-02T03:04:05.678Z';
let folder: TestFolder;
beforeEach(() => {
  folder = new TestFolder();
});
afterEach(() => folder.remove());

function chained(count: number, event = (seq: number): AuditEntry['event'] => ({ kind: 'test.happened', seq })) {
  const entries: AuditEntry[] = [];
  let previousHash = auditGenesis('store');
  for (let seq = 1; seq <= count; seq += 1) {
    const entry = { seq, at, event: event(seq), previousHash };
    previousHash = auditHash(entry);
    entries.push({ ...entry, hash: previousHash });
  }
  return entries;
}

function headOf({ seq, hash }: AuditEntry): AuditHead {
  const head = { seq, hash, at };
  return { ...head, signature: sign(null, auditHeadBytes(head), privateKey).toString('base64'), publicKeyPem };
}

const jsonl = (lines: readonly object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join('');
async function verified(text: string, ...args: string[]) {
  folder.write('export.jsonl', text);
  return sidekey(['audit', 'verify', 'export.jsonl', ...args], { cwd: folder.path });
}

test('audit verify FILE reads an export without a store, and says how far a head vouches for it', async () => {
  const entries = chained(20);
  const alone = await verified(jsonl(entries));
  expect(alone).toMatchObject({ code: 0, stdout: expect.stringMatching(/^✓ 20 entries, none edited/) });
  expect(alone.stdout).toContain('no signed head is at hand');
  folder.write('head.json', JSON.stringify(headOf(entries[9]!)));
  expect((await verified(jsonl(entries), '--head', 'head.json')).stdout).toContain('signed up to entry 10');
  expect((await verified(jsonl([...entries, headOf(entries[19]!)]))).stdout).toContain('signed to its end');
});

test('audit verify FILE finds what was edited, removed, moved or signed by nobody, with 4', async () => {
  const entries = chained(20);
  const edited = entries.map((entry) => (entry.seq === 7 ? { ...entry, event: { kind: 'test.edited' } } : entry));
  expect(await verified(jsonl(edited))).toMatchObject({ code: 4, stdout: expect.stringContaining('it was edited') });
  const removed = entries.filter(({ seq }) => seq !== 7);
  expect(await verified(jsonl(removed))).toMatchObject({
    code: 4,
    stdout: expect.stringContaining('removed or moved'),
  });
  const forged = { ...headOf(entries[19]!), hash: entries[18]!.hash };
  expect(await verified(jsonl([...entries, forged]))).toMatchObject({
    code: 4,
    stdout: expect.stringContaining('signature of the head does not verify'),
  });
});

test('audit verify FILE finds an end that was cut off only where a head tells of it, and a line that was cut always', async () => {
  const entries = chained(20);
  const cut = jsonl(entries.slice(0, 15));
  expect(await verified(cut)).toMatchObject({ code: 0, stdout: expect.stringContaining('may be gone') });
  folder.write('head.json', JSON.stringify(headOf(entries[19]!)));
  expect(await verified(cut, '--head', 'head.json')).toMatchObject({
    code: 4,
    stdout: expect.stringContaining('the end was cut off'),
  });
  expect(await verified(jsonl(entries).slice(0, -20))).toMatchObject({
    code: 4,
    stderr: expect.stringContaining('line 20 is no JSON'),
  });
});

test('audit verify FILE begins at a signed checkpoint, or says that what is before is not there', async () => {
  const point = { seq: 5, hash: chained(5)[4]!.hash, at, pruned: 5 };
  const signature = sign(null, auditCheckpointBytes(point), privateKey).toString('base64');
  const entries = chained(20, (seq) =>
    seq === 15
      ? { kind: 'audit.pruned', checkpoint: { ...point, signature, publicKeyPem } }
      : { kind: 'test.happened', seq },
  );
  const after = [...entries.slice(5), headOf(entries[19]!)];
  expect(await verified(jsonl(after))).toMatchObject({ code: 0, stdout: expect.stringContaining('signed checkpoint') });
  const later = await verified(jsonl(after.slice(3)));
  expect(later).toMatchObject({ code: 0, stdout: expect.stringContaining('what is before is not here') });
});
