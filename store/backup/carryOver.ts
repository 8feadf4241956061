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
  for await (const page of keyed(old)) {
    const lasts = await old.transaction((tx) => lastVersions(tx, page));
    for (const last of lasts) highest = Math.max(highest, last);
  }
  for await (const page of keyed(repository)) {
    const lasts = await old.transaction((tx) => lastVersions(tx, page));
    for (const last of lasts) highest = Math.max(highest, last);
    removed += await carryCredentials(
      page.filter((_, index) => lasts[index]! > 0),
      old,
      repository,
    );
  }
  const stands = await old.transaction((tx) => tx.revocations.all());
  const revocations = await repository.transaction(async (tx) => {
    const known = new Set((await tx.revocations.all()).map(({ id }) => id));
    const more = stands.filter(({ id }) => !known.has(id));
    for (const revocation of more) await tx.revocations.put(revocation);
    return more.length;
  });
  const auditEntries = await carryAudit(old, repository);
  return { revocations, removed, auditEntries, epoch, highest };
}

async function lastVersions(tx: Transaction, credentials: readonly string[]): Promise<number[]> {
  const lasts: number[] = [];
  for (const credential of credentials) lasts.push(await tx.materials.lastVersion(credential));
  return lasts;
}

/** Removes material that is gone in the old database, and counts the leases that were given since. How many were removed. */
async function carryCredentials(credentials: string[], old: Repository, repository: Repository): Promise<number> {
  const bounded = await repository.transaction(async (tx) => {
    const versions = new Map<string, number>();
    for (const credential of credentials) {
      if ((await tx.credentials.get(credential))?.maxUses === undefined) continue;
      versions.set(credential, (await tx.materials.newest(credential))?.version ?? 0);
    }
    return versions;
  });
  const { counts, gone } = await old.transaction(async (tx) => {
    const counts = new Map<string, number>();
    const gone: string[] = [];
    for (const credential of credentials) if ((await tx.dataKeys.get(credential)) === undefined) gone.push(credential);
    for (const [credential, version] of bounded) counts.set(credential, await tx.leases.count(credential, version));
    return { counts, gone };
  });
  if (gone.length + counts.size === 0) return 0;
  await repository.transaction(async (tx) => {
    for (const [credential, count] of counts) {
      const more = count - (await tx.leases.count(credential, bounded.get(credential)!));
      if (more > 0) await tx.leases.addCount(credential, bounded.get(credential)!, more);
    }
    for (const credential of gone) await tx.materials.delete(credential);
  });
  return gone.length;
}

/** The credentials that have a data key, and so material, page by page. */
async function* keyed(repository: Repository): AsyncGenerator<string[]> {
  for (let after = ''; ; ) {
    const page = await repository.transaction((tx) => tx.dataKeys.page(after, PAGE));
    yield page.map(({ credential }) => credential);
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
  for (const chain of await old.transaction((tx) => tx.audit.chains())) {
    const head = await old.transaction((tx) => tx.audit.head(chain));
    if (head === undefined) continue;
    let end = await repository.transaction((tx) => tx.audit.end(chain));
    for (;;) {
      const entries = await old.transaction((tx) => tx.audit.entries(chain, end?.seq ?? 0, PAGE));
      if (entries.length === 0 || !goesOn(chain, end, entries)) break;
      await repository.transaction(async (tx) => {
        for (const entry of entries) await tx.audit.append(chain, entry, head);
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
