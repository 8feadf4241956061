import type { StoreClient } from '../store/storeClient.ts';

/** Who has joined, with what it takes to come back after the store was started anew. */
export type Member = Pick<StoreClient, 'answer' | 'tls'>;

/** What the store has acknowledged, as its clients have it: the measure for what it still knows after a fault. */
export class Ledger {
  /** Of the one credential that is written all the time. */
  material = { version: 0, value: '' };
  /** Values that were sent and not answered since. */
  unanswered: string[] = [];
  /** Whether the revocation of the other credential stands; undefined while nobody can know. */
  revoked: boolean | undefined = false;
  /** `atMs`: when it was asked for, which is before its record. */
  leases: { id: string; version: number; atMs: number }[] = [];
  /** Paths of uses that are on record before they are answered. */
  uses: { path: string; atMs: number }[] = [];
  living: Member[] = [];
  ended: Member[] = [];
  /** The KEK that wraps what is new, and those that did before. */
  kek = '';
  readonly oldKeks = new Set<string>();
  /** Whole backups. */
  backups: Buffer[] = [];
  /** What was acknowledged, by the path that wrote it. */
  readonly counts: Record<string, number> = {};

  count(path: string): void {
    this.counts[path] = (this.counts[path] ?? 0) + 1;
  }

  /** A KEK that is said to be in force: those of before never come back. */
  kekInForce(id: string): void {
    if (this.kek !== '' && this.kek !== id) this.oldKeks.add(this.kek);
    this.kek = id;
  }

  /** Entries of before may be gone from the audit. */
  prunedBefore(atMs: number): void {
    this.leases = this.leases.filter((lease) => lease.atMs > atMs);
    this.uses = this.uses.filter((use) => use.atMs > atMs);
  }
}
