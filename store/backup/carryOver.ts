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
  const epoch = await old.transaction(epochOf);
  let highest = 0;
  let removed = 0;
  for await (const credential of withKeys(old))
    highest = Math.max(highest, await old.transaction((tx) => tx.lastVersion(credential)));
  for await (const credential of withKeys(repository)) {
    const last = await old.transaction((tx) => tx.lastVersion(credential));
    highest = Math.max(highest, last);
    if (last > 0 && (await carryCredential(credential, old, repository))) removed += 1;
  }
  const stands = await old.transaction((tx) => tx.revocations());
  const revocations = await repository.transaction(async (tx) => {
    const known = new Set((await tx.revocations()).map(({ id }) => id));
    const more = stands.filter(({ id }) => !known.has(id));
    for (const revocation of more) await tx.putRevocation(revocation);
    return more.length;
  });
  const auditEntries = await carryAudit(old, repository);
  return { revocations, removed, auditEntries, epoch, highest };
}

/** Removes material that is gone in the old database, and counts the leases that were given since. Whether it was removed. */
async function carryCredential(credential: string, old: Repository, repository: Repository): Promise<boolean> {
  const restored = await repository.transaction(async (tx) => ({
    version: (await tx.material(credential))?.version,
    bounded: (await tx.credential(credential))?.maxUses !== undefined,
  }));
  const { version } = restored;
  if (version === undefined) return false;
  const { count, gone } = await old.transaction(async (tx) => ({
    count: restored.bounded ? await tx.countLeases(credential, version) : 0,
    gone: (await tx.material(credential)) === undefined,
  }));
  if (gone) await repository.transaction((tx) => tx.deleteMaterial(credential));
  else if (count > 0) {
    await repository.transaction(async (tx) => {
      const counted = await tx.countLeases(credential, version);
      if (count > counted) await tx.addLeaseCount(credential, version, count - counted);
    });
  }
  return gone;
}

/** The credentials that have a data key, and so material; read in pages. */
async function* withKeys(repository: Repository): AsyncGenerator<string> {
  for (let after = ''; ; ) {
    const page = await repository.transaction((tx) => tx.dataKeys(after, PAGE));
    for (const { credential } of page) yield credential;
    if (page.length < PAGE) return;
    after = page.at(-1)!.credential;
  }
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
