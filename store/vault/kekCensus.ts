import type { KekKeyStatus } from '../../api/kek.ts';
import type { Repository } from '../persist/repository.ts';
import type { Keyring } from './keyring.ts';
import { decodeOwnKey } from './ownKeyValue.ts';

const PAGE = 512;

export interface Census {
  /** Id of a KEK → keys under it. */
  dataKeys: Map<string, number>;
  /** Those that do not say are under the empty id. */
  ownKeys: Map<string, number>;
}

/** Counts what is under each KEK; a page a transaction, so that nobody waits for it. */
export async function takeCensus(repository: Repository): Promise<Census> {
  const census: Census = { dataKeys: new Map(), ownKeys: new Map() };
  for (let after = ''; ; ) {
    const page = await repository.transaction((tx) => tx.dataKeys.page(after, PAGE));
    for (const { key } of page) count(census.dataKeys, key.kekId);
    if (page.length < PAGE) break;
    after = page.at(-1)!.credential;
  }
  for (const { kekId } of await ownKeys(repository)) count(census.ownKeys, kekId);
  return census;
}

/** Every key of the store itself. */
export async function ownKeys(repository: Repository): Promise<{ name: string; value: Buffer; kekId: string }[]> {
  return repository.transaction(async (tx) => {
    const found: { name: string; value: Buffer; kekId: string }[] = [];
    for (const name of await tx.meta.names('')) {
      const value = await tx.meta.get(name);
      const key = value && decodeOwnKey(value);
      if (value !== undefined && key !== undefined) found.push({ name, value, kekId: key.kekId });
    }
    return found;
  });
}

/** Ids of the KEKs that something is under. */
export function idsIn({ dataKeys, ownKeys }: Census): string[] {
  return [...new Set([...dataKeys.keys(), ...ownKeys.keys()])];
}

/** Of the KEKs that are at hand, and those that something is still under. */
export function keyStatuses({ current, providers }: Keyring, census: Census): KekKeyStatus[] {
  const known = providers.flatMap(({ provider }) => provider.keys.map((key) => ({ ...key, provider })));
  const ids = new Set([...known.map(({ id }) => id), ...idsIn(census)]);
  ids.delete('');
  return [...ids].map((id) => {
    const key = known.find((one) => one.id === id);
    return {
      id,
      ...(key && { kind: key.provider.kind, where: key.provider.where }),
      ...(key?.createdAtMs !== undefined && { createdAt: new Date(key.createdAtMs).toISOString() }),
      current: id === current,
      dataKeys: census.dataKeys.get(id) ?? 0,
      ownKeys: (census.ownKeys.get(id) ?? 0) + (id === current ? (census.ownKeys.get('') ?? 0) : 0),
    };
  });
}

export function sum(counts: Map<string, number>): number {
  return [...counts.values()].reduce((total, number) => total + number, 0);
}

function count(counts: Map<string, number>, id: string): void {
  counts.set(id, (counts.get(id) ?? 0) + 1);
}
