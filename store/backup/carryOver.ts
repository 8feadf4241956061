import type { AuditEntry } from '../../api/admin.ts';
import { auditGenesis, auditHash } from '../../lib/auditChain.ts';
import { keyLinks } from '../audit/anchors.ts';
import type { Repository, Transaction } from '../persist/repository.ts';
import { epochOf } from './epoch.ts';

const PAGE = 256;

/** What a store that is replaced knew and its backup did not. */
export interface CarriedOver {
  /** Revocations that stand since. */
  revocations: number;
  /** Credentials whose material was removed since. */
  removed: number;
  /** Entries of the audit since. */
  auditEntries: number;
}

/**
 * Takes over from the database that is replaced whatever takes something away, so that nothing that was revoked since the backup comes
 * back, and the audit of that time. What it gave since is not taken over.
 *
 * `highest`: the highest version that either has seen.
 */
export async function carryOver(
  old: Repository,
  repository: Repository,
): Promise<CarriedOver & { epoch: number; highest: number }> {
  const snapshot = await old.load();
  const epoch = await old.transaction(epochOf);
  const restored = await repository.load();
  let highest = 0;
  let removed = 0;
  for (const { version } of snapshot.materials) highest = Math.max(highest, version);
  for (const { credential, version } of restored.materials) {
    const { last, count, there } = await old.transaction(async (tx) => ({
      last: await tx.lastVersion(credential),
      count: await tx.countLeases(credential, version),
      there: (await tx.material(credential)) !== undefined,
    }));
    highest = Math.max(highest, last);
    await repository.transaction(async (tx) => {
      if (last > 0 && !there) {
        await tx.deleteMaterial(credential);
        removed += 1;
      } else if ((await tx.credential(credential))?.maxUses !== undefined) {
        const counted = await tx.countLeases(credential, version);
        if (count > counted) await tx.addLeaseCount(credential, version, count - counted);
      }
    });
  }
  const known = new Set(restored.revocations.map(({ id }) => id));
  const more = snapshot.revocations.filter(({ id }) => !known.has(id));
  await repository.transaction(async (tx) => {
    for (const revocation of more) await tx.putRevocation(revocation);
  });
  const auditEntries = await carryAudit(old, repository);
  return { revocations: more.length, removed, auditEntries, epoch, highest };
}

/** Chains that go on in the old database just where those of the backup end; others are left out. */
async function carryAudit(old: Repository, repository: Repository): Promise<number> {
  const keys = (tx: Transaction) => keyLinks(tx);
  const sameKeys = JSON.stringify(await old.transaction(keys)) === JSON.stringify(await repository.transaction(keys));
  if (!sameKeys) return 0;
  let carried = 0;
  for (const chain of await old.transaction((tx) => tx.auditChains())) {
    const head = await old.transaction((tx) => tx.auditHead(chain));
    if (head === undefined) continue;
    let end = await repository.transaction((tx) => tx.auditEnd(chain));
    for (;;) {
      const entries = await old.transaction((tx) => tx.auditEntries(chain, end?.seq ?? 0, PAGE));
      if (entries.length === 0 || !goesOn(chain, end, entries)) break;
      await repository.transaction(async (tx) => {
        for (const entry of entries) await tx.appendAudit(chain, entry, head);
      });
      carried += entries.length;
      end = entries.at(-1)!;
    }
  }
  return carried;
}

function goesOn(
  chain: string,
  end: { seq: number; hash: string } | undefined,
  entries: readonly AuditEntry[],
): boolean {
  let { seq, hash } = end ?? { seq: 0, hash: auditGenesis(chain) };
  for (const entry of entries) {
    if (entry.seq !== seq + 1 || entry.previousHash !== hash || auditHash(entry) !== entry.hash) return false;
    ({ seq, hash } = entry);
  }
  return true;
}
