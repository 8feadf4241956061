import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { expect, test } from 'vitest';
import type { AuditCheckpoint, AuditEntry, AuditEvent, AuditHead, AuditKeyLink } from '../api/admin.ts';
import {
  auditCheckpointBytes,
  auditGenesis,
  auditHash,
  auditHeadBytes,
  auditHeadSigned,
  auditKeyLinkBytes,
  canonicalJson,
} from './auditChain.ts';
import { verifyAudit } from './auditVerify.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');

type Keys = { privateKey: KeyObject; publicKey: KeyObject };
const ours: Keys = { privateKey, publicKey };

function pemOf({ publicKey: key }: Pick<Keys, 'publicKey'>): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

/** Goes on with `entries`, one entry for each event. */
function grow(entries: AuditEntry[], events: AuditEvent[], name?: string): AuditEntry[] {
  for (const event of events) {
    const last = entries.at(-1);
    const seq = (last?.seq ?? 0) + 1;
    const previousHash = last?.hash ?? auditGenesis(name ?? 'store');
    const rest = { seq, at: `2026-01-01T00:00:00.${String(seq).padStart(3, '0')}Z`, event, previousHash };
    entries.push({ ...(name && { chain: name }), ...rest, hash: auditHash(rest) });
  }
  return entries;
}

function chain(
  count: number,
  event: (seq: number) => AuditEvent = (seq) => ({ kind: 'test', n: seq }),
  name?: string,
): AuditEntry[] {
  return grow(
    [],
    Array.from({ length: count }, (_, i) => event(i + 1)),
    name,
  );
}

function headOf(entry: AuditEntry, key: KeyObject = privateKey, shown: KeyObject = publicKey): AuditHead {
  const { chain: name, seq, hash, at } = entry;
  const end = { ...(name && { chain: name }), seq, hash, at };
  return {
    ...end,
    signature: sign(null, auditHeadBytes(end), key).toString('base64'),
    publicKeyPem: pemOf({ publicKey: shown }),
  };
}

/** Where the chain begins once everything up to `entry` is pruned. */
function checkpointOf(entry: AuditEntry, keys: Keys = ours): AuditCheckpoint {
  const { chain: name, seq, hash } = entry;
  const rest = { ...(name && { chain: name }), seq, hash, at: '2026-02-01T00:00:00.000Z', pruned: seq };
  const signature = sign(null, auditCheckpointBytes(rest), keys.privateKey).toString('base64');
  return { ...rest, signature, publicKeyPem: pemOf(keys) };
}

/** The chain without its first `count` entries, as the store prunes it. */
function pruned(entries: AuditEntry[], count: number, keys: Keys = ours) {
  const checkpoint = checkpointOf(entries[count - 1]!, keys);
  const event = { kind: 'audit.pruned', checkpoint: checkpoint as unknown };
  return { checkpoint, entries: grow([...entries], [event], entries[0]!.chain).slice(count) };
}

function linkOf(before: Keys, after: Keys): AuditKeyLink {
  const keys = { previousPublicKeyPem: pemOf(before), publicKeyPem: pemOf(after) };
  const by = (one: Keys) => sign(null, auditKeyLinkBytes(keys), one.privateKey).toString('base64');
  return { ...keys, previousSignature: by(before), signature: by(after) };
}

async function problems(
  entries: AuditEntry[],
  heads: AuditHead[],
  checkpoints: AuditCheckpoint[] = [],
): Promise<string[]> {
  return (await verifyAudit(entries, heads, checkpoints)).problems.map(({ seq, message }) => `${seq}: ${message}`);
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

test('entries in another order are found', async () => {
  const entries = chain(5);
  const head = headOf(entries[4]!);
  [entries[1], entries[2]] = [entries[2]!, entries[1]!];
  expect((await problems(entries, [head])).length).toBeGreaterThan(0);
  // Numbered anew, so that they look right.
  const renumbered = entries.map((entry, i) => ({ ...entry, seq: i + 1 }));
  expect((await problems(renumbered, [head])).length).toBeGreaterThan(0);
});

test('several chains are checked each by itself, one after the other or mixed', async () => {
  const a = chain(4, undefined, 'a');
  const b = chain(3, undefined, 'b');
  const heads = [headOf(a[3]!), headOf(b[2]!)];
  expect(await verifyAudit([...a, ...b], heads)).toEqual({ entries: 7, problems: [] });
  expect(await verifyAudit([a[0]!, b[0]!, a[1]!, b[1]!, b[2]!, a[2]!, a[3]!], heads)).toEqual({
    entries: 7,
    problems: [],
  });
  expect((await verifyAudit([...a], heads)).problems).toMatchObject([{ chain: 'b', seq: 0 }]);
});

test('swapped chains are found: an entry, the end or the whole of one chain does not pass for another', async () => {
  const a = chain(4, undefined, 'a');
  const b = chain(4, undefined, 'b');
  const heads = [headOf(a[3]!), headOf(b[3]!)];
  const as = (name: string, entries: AuditEntry[]) => entries.map((entry) => ({ ...entry, chain: name }));
  for (const swapped of [
    [...as('a', b), ...as('b', a)],
    [a[0]!, a[1]!, ...as('a', b.slice(2)), ...b],
    [a[0]!, ...as('a', [b[1]!]), a[2]!, a[3]!, ...b],
  ])
    expect((await problems(swapped, heads)).length).toBeGreaterThan(0);
  const renamed = heads.map((head) => ({ ...head, chain: head.chain === 'a' ? 'b' : 'a' }));
  expect((await problems([...as('a', b), ...as('b', a)], renamed)).length).toBeGreaterThan(0);
});

test('a chain that begins at a signed checkpoint is whole, and is said to begin there', async () => {
  const { entries, checkpoint } = pruned(chain(8), 5);
  const head = headOf(entries.at(-1)!);
  expect(await verifyAudit(entries, [head], [checkpoint])).toEqual({
    entries: 4,
    problems: [],
    checkpoints: [checkpoint],
  });
  // Kept since before the pruning: too old to compare, or just at the border.
  const kept = [headOf(chain(8)[2]!), headOf(chain(8)[4]!)];
  expect(await problems(entries, [head, ...kept], [checkpoint])).toEqual([]);
});

test('a chain that was pruned twice begins at the newer checkpoint, and the older one does not hide what is missing', async () => {
  const first = pruned(chain(8), 3);
  const second = pruned(first.entries, 3);
  const head = headOf(second.entries.at(-1)!);
  expect(await problems(second.entries, [head], [second.checkpoint])).toEqual([]);
  expect(await problems(second.entries, [head], [first.checkpoint, second.checkpoint])).toEqual([]);
  expect(await problems(second.entries, [head], [first.checkpoint])).toEqual([expect.stringMatching(/^7: .*removed/)]);
});

test('entries deleted from the beginning without a checkpoint are found', async () => {
  const entries = chain(8);
  expect(await problems(entries.slice(3), [headOf(entries[7]!)])).toEqual([expect.stringMatching(/^4: .*removed/)]);
});

test('more deleted than the checkpoint says is found', async () => {
  const { entries, checkpoint } = pruned(chain(8), 3);
  const head = headOf(entries.at(-1)!);
  expect(await problems(entries.slice(2), [head], [checkpoint])).toEqual([expect.stringMatching(/^6: .*removed/)]);
});

test('a forged checkpoint is found: by another key, by none, or one that the chain does not tell of', async () => {
  const other = generateKeyPairSync('ed25519');
  const entries = chain(8);
  const head = headOf(entries[7]!);
  const cut = entries.slice(4);
  expect(await problems(cut, [head], [checkpointOf(entries[3]!, other)])).toEqual([
    expect.stringMatching(/^4: no entry/),
  ]);
  expect(await problems(cut, [head], [{ ...checkpointOf(entries[3]!), pruned: 1 }])).toEqual([
    expect.stringMatching(/^4: the signature of the checkpoint/),
  ]);
  // A head that is dressed up as a checkpoint.
  expect(await problems(cut, [head], [{ ...headOf(entries[3]!), pruned: 4 }])).toEqual([
    expect.stringMatching(/^4: the signature of the checkpoint/),
  ]);
  // Somebody who can write the database appends an entry about it; the key of the heads is still not theirs.
  const forged = pruned(entries, 4, other);
  const grown = headOf(forged.entries.at(-1)!, other.privateKey, other.publicKey);
  expect(await problems(forged.entries, [head], [forged.checkpoint])).toEqual([
    expect.stringMatching(/^4: .*not in force: it is forged/),
  ]);
  expect((await problems(forged.entries, [grown, head], [forged.checkpoint])).length).toBeGreaterThan(0);
});

test('a checkpoint of another chain is found', async () => {
  const a = chain(6, undefined, 'a');
  const { entries, checkpoint } = pruned(chain(6, undefined, 'b'), 3);
  const stolen = { ...checkpoint, chain: 'a' };
  const found = await problems(
    [...a.slice(3), ...entries],
    [headOf(a[5]!), headOf(entries.at(-1)!)],
    [stolen, checkpoint],
  );
  expect(found).toContainEqual(expect.stringMatching(/^3: the signature of the checkpoint/));
});

test('a new key takes over where the old one vouches for it', async () => {
  const next = generateKeyPairSync('ed25519');
  const link = linkOf(ours, next) as unknown;
  const entries = grow(grow(chain(3), [{ kind: 'audit.key-rotated', link }]), [{ kind: 'test', n: 5 }]);
  const old = headOf(entries[2]!);
  const now = headOf(entries[4]!, next.privateKey, next.publicKey);
  expect(await problems(entries, [now, old])).toEqual([]);
  expect(await problems(entries, [old, now])).toEqual([]);
  expect(await problems(entries, [headOf(entries[4]!)])).toEqual([expect.stringMatching(/^5: .*not in force/)]);
  const early = headOf(entries[1]!, next.privateKey, next.publicKey);
  expect(await problems(entries, [early, now])).toEqual([expect.stringMatching(/^2: .*not in force/)]);
});

test('a new key that the old one does not vouch for is found', async () => {
  const next = generateKeyPairSync('ed25519');
  const thief = generateKeyPairSync('ed25519');
  const stolen = { ...linkOf(thief, next), previousPublicKeyPem: pemOf(ours) };
  for (const link of [stolen, linkOf(thief, next), {}, 'nonsense'] as unknown[]) {
    const entries = grow(chain(3), [{ kind: 'audit.key-rotated', link }]);
    const heads = [headOf(entries[3]!, next.privateKey, next.publicKey), headOf(entries[2]!)];
    expect((await problems(entries, heads)).length).toBeGreaterThan(0);
  }
});

test('pruning and a new key together stay verifiable, also when the entry about the key is pruned', async () => {
  const next = generateKeyPairSync('ed25519');
  const link = linkOf(ours, next) as unknown;
  const rotated = grow(grow(chain(3), [{ kind: 'audit.key-rotated', link }]), [{ kind: 'test', n: 5 }]);
  for (const count of [2, 4, 5]) {
    const { entries, checkpoint } = pruned(rotated, count, next);
    const head = headOf(entries.at(-1)!, next.privateKey, next.publicKey);
    expect(await problems(entries, [head, headOf(rotated[0]!)], [checkpoint])).toEqual([]);
  }
});

test('a million entries are checked in constant memory', { timeout: 120_000 }, async () => {
  const COUNT = 1_000_000;
  let last: AuditEntry | undefined;
  function* many(): Generator<AuditEntry> {
    let previousHash = auditGenesis('store');
    for (let seq = 1; seq <= COUNT; seq += 1) {
      const event = {
        kind: 'usage.reported',
        session: 's-1',
        records: [{ method: 'GET', path: '/v1/models', status: 200 }],
      };
      const rest = { seq, at: '2026-01-01T00:00:00.000Z', event, previousHash };
      last = { ...rest, hash: auditHash(rest) };
      previousHash = last.hash;
      yield last;
    }
  }
  const startMs = performance.now();
  for (const _ of many());
  const madeMs = performance.now();
  const head = headOf(last!);
  let most = 0;
  function* watched(): Generator<AuditEntry> {
    for (const entry of many()) {
      if (entry.seq % 50_000 === 0) most = Math.max(most, process.memoryUsage().heapUsed);
      yield entry;
    }
  }
  const heapBefore = process.memoryUsage().heapUsed;
  expect(await verifyAudit(watched(), [head])).toEqual({ entries: COUNT, problems: [] });
  const verifiedMs = performance.now() - madeMs - (madeMs - startMs);
  process.stdout.write(
    `1,000,000 entries verified in ${(verifiedMs / 1000).toFixed(1)} s, at most ${((most - heapBefore) / 1024 / 1024).toFixed(0)} MiB more heap\n`,
  );
  expect(most - heapBefore).toBeLessThan(64 * 1024 * 1024);
});

test('canonical JSON has one spelling per value', () => {
  expect(canonicalJson({ b: [1, 'x', null, true], a: { d: undefined, c: 'é\u2028\ud800' } })).toBe(
    '{"a":{"c":"é\u2028\\ud800"},"b":[1,"x",null,true]}',
  );
  expect(() => canonicalJson({ n: Number.NaN })).toThrow(TypeError);
  expect(() => canonicalJson({ secret: Buffer.from('x') })).toThrow(TypeError);
});
