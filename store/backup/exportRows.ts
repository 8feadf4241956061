import type { ObjectTable, Repository, Transaction } from '../persist/repository.ts';
import { decodeOwnKey } from '../vault/ownKeyValue.ts';
import type { Vault } from '../vault/vault.ts';
import { epochOf } from './epoch.ts';
import type { BackupCounts, BackupManifest, BackupRow } from './rows.ts';

const PAGE = 256;
/** Names in the meta table that are about the KEK of this store: a backup that holds open keys has none of it. */
const KEK_NAMES = 'kek ';

/**
 * Everything that is to outlive the store, as of one moment: no sessions, identities, leases or join tokens, for those end with it.
 * `keys` says whether keys leave as they are or under their KEK. @throws StorageFailed
 */
export async function* exportRows(options: {
  repository: Repository;
  vault: Vault;
  keys: BackupManifest['keys'];
  createdAt: string;
}): AsyncGenerator<BackupRow> {
  // A generator within the callback of the snapshot, turned inside out: `rows` is asked while `snapshot` waits.
  const { repository } = options;
  const begun = Promise.withResolvers<AsyncGenerator<BackupRow>>();
  const over = Promise.withResolvers<void>();
  // What is read may be under a KEK that a rotation gives up meanwhile.
  const release = options.vault.keyring.hold();
  const snapshot = repository.snapshot(async (tx) => {
    begun.resolve(allRows(tx, options));
    await over.promise;
  });
  snapshot.catch(begun.reject);
  try {
    yield* await begun.promise;
  } finally {
    over.resolve();
    await snapshot.catch(() => {});
    release();
  }
}

async function* allRows(
  tx: Transaction,
  options: { vault: Vault; keys: BackupManifest['keys']; createdAt: string },
): AsyncGenerator<BackupRow> {
  const { createdAt, keys, vault } = options;
  const counts: Partial<BackupCounts> = {};
  const chains = await tx.audit.chains();
  const heads = await Promise.all(chains.map((chain) => tx.audit.head(chain)));
  yield {
    type: 'manifest',
    manifest: { createdAt, epoch: await epochOf(tx), keys, heads: heads.filter((head) => head !== undefined) },
  };
  for await (const row of parts(tx, chains, vault, keys)) {
    const type = row.type as keyof BackupCounts;
    counts[type] = (counts[type] ?? 0) + 1;
    yield row;
  }
  yield { type: 'end', counts };
}

async function* parts(
  tx: Transaction,
  chains: string[],
  vault: Vault,
  keys: BackupManifest['keys'],
): AsyncGenerator<BackupRow> {
  for (const name of await tx.meta.names('')) {
    const blob = (await tx.meta.get(name))!;
    const own = keys === 'open' && decodeOwnKey(blob) !== undefined;
    if (keys === 'open' && name.startsWith(KEK_NAMES)) continue;
    if (own) yield { type: 'ownKey', name, blob: await vault.openOwn(name, blob) };
    else yield { type: 'meta', name, blob: Buffer.from(blob) };
  }
  for await (const { key, record } of pages(tx.integrations)) yield { type: 'integration', key, record };
  for await (const { key, record } of pages(tx.credentials)) yield { type: 'credential', key, record };
  for await (const row of materials(tx, vault, keys)) yield row;
  for (const revocation of await tx.revocations.all()) yield { type: 'revocation', revocation };
  for (const chain of chains) {
    for (let after = 0; ; ) {
      const entries = await tx.audit.entries(chain, after, PAGE);
      for (const entry of entries) yield { type: 'audit', chain, entry };
      if (entries.length < PAGE) break;
      after = entries.at(-1)!.seq;
    }
  }
}

/** Data key, newest material and what was given of it. */
async function* materials(tx: Transaction, vault: Vault, keys: BackupManifest['keys']): AsyncGenerator<BackupRow> {
  for (let after = ''; ; ) {
    const page = await tx.dataKeys.page(after, PAGE);
    for (const { credential, key } of page) {
      if (keys === 'open') yield { type: 'dataKey', credential, blob: await vault.exposeDataKey(credential, key) };
      else yield { type: 'dataKey', credential, kekId: key.kekId, blob: Buffer.from(key.wrapped) };
      const material = await tx.materials.newest(credential);
      if (material === undefined) continue;
      const { sealed, ...head } = material;
      yield { type: 'material', head, blob: Buffer.from(sealed) };
      if ((await tx.credentials.get(credential))?.maxUses === undefined) continue;
      const { version } = head;
      yield { type: 'leases', credential, version, count: await tx.leases.count(credential, version) };
    }
    if (page.length < PAGE) return;
    after = page.at(-1)!.credential;
  }
}

async function* pages<R>(table: ObjectTable<R>): AsyncGenerator<{ key: string; record: R }> {
  for (let after = ''; ; ) {
    const page = await table.page(after, PAGE);
    yield* page;
    if (page.length < PAGE) return;
    after = page.at(-1)!.key;
  }
}
