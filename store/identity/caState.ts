import { randomBytes, X509Certificate } from 'node:crypto';
import { storeError } from '../errors.ts';

/** Name in the meta table of the CaState. */
export const CA_STATE = 'ca state';

export interface CaRoot {
  id: string;
  certificatePem: string;
  createdAtMs: number;
  /** Name of its key among the store's own keys. */
  keyName: string;
}

/** A CA below a root, which issues the certificates of clients and of the store itself. */
export interface CaIntermediate {
  /** First 8 hexadecimal digits of the serial numbers that it gives out, so that what stands under it is known without being kept. */
  id: string;
  root: string;
  certificatePem: string;
  createdAtMs: number;
}

/**
 * A change of the root. `published`: clients are told of the new one, the old one still issues. `switched`: the new one issues,
 * what the old one has issued runs out.
 */
export interface RootRotation {
  phase: 'published' | 'switched';
  root: string;
  sinceMs: number;
  /** Whoever has a certificate of this intermediate or a later one knows the new root. */
  known: string;
}

/** Which certificates of our own there are: public, kept as JSON; the keys are apart, under the KEK. */
export interface CaState {
  /** All that is trusted. */
  roots: CaRoot[];
  /** In order of their making; the last one issues. */
  intermediates: CaIntermediate[];
  rotation?: RootRotation;
}

export function issuerKeyName({ id }: Pick<CaIntermediate, 'id'>): string {
  return `ca issuer key ${id}`;
}

/** For a root or an intermediate: 4 bytes in hexadecimal, a positive number wherever they stand first. */
export function newCaId(): string {
  const bytes = randomBytes(4);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex').toUpperCase();
}

export function activeIntermediate({ intermediates }: CaState): CaIntermediate {
  return intermediates.at(-1)!;
}

export function rootOf(state: CaState, id: string): CaRoot {
  return state.roots.find((root) => root.id === id)!;
}

export function trustBundleOf({ roots }: CaState): string {
  return roots.map(({ certificatePem }) => certificatePem).join('');
}

/** Which intermediate has given out the serial number. */
export function issuerOf(serial: string): string {
  return serial.slice(0, 8);
}

/** How many of the certificates with these serial numbers stand under each intermediate; `''` is for those of no known one. */
export function countByIssuer(state: CaState, serials: Iterable<string>): Map<string, number> {
  const known = new Set(state.intermediates.map(({ id }) => id));
  const counts = new Map<string, number>();
  for (const serial of serials) {
    const id = issuerOf(serial);
    const issuer = known.has(id) ? id : '';
    counts.set(issuer, (counts.get(issuer) ?? 0) + 1);
  }
  return counts;
}

/** Reads a state and checks that each intermediate is of its root. @throws DatabaseDamaged */
export function parseCaState(value: Buffer): CaState {
  const state = JSON.parse(value.toString()) as CaState;
  const keys = new Map(
    state.roots.map(({ id, certificatePem }) => [id, new X509Certificate(certificatePem).publicKey]),
  );
  for (const { certificatePem, root } of state.intermediates) {
    const key = keys.get(root);
    if (key === undefined || !new X509Certificate(certificatePem).verify(key)) throw damaged('an issuing CA');
  }
  return state;
}

export function damaged(what: string): Error {
  return storeError('DatabaseDamaged', `The certificate of ${what} in the database was changed. Restore a backup.`);
}
