import type { AuditEntry, AuditEvent, AuditHead } from '../../api/admin.ts';
import { AUDIT_GENESIS, auditHash } from '../../lib/auditChain.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Change, Repository, Transaction } from '../persist/repository.ts';
import type { AuditSigner } from './signer.ts';

/** Most entries that are read into memory at once. */
const PAGE_ENTRIES = 256;

/** The store's record of what happened: a hash chain whose end is signed with each entry, in the transaction of what it records. */
export class Audit {
  readonly #clock: Clock;
  readonly #repository: Repository;
  readonly #signer: AuditSigner;
  readonly #followers = new Set<() => void>();

  constructor(options: { clock: Clock; repository: Repository; signer: AuditSigner }) {
    this.#clock = options.clock;
    this.#repository = options.repository;
    this.#signer = options.signer;
  }

  async append(tx: Transaction, event: AuditEvent): Promise<void> {
    const end = await tx.auditEnd(this.#repository.chain);
    const seq = (end?.seq ?? 0) + 1;
    const at = new Date(this.#clock.nowMs()).toISOString();
    const previousHash = end?.hash ?? AUDIT_GENESIS;
    const hash = auditHash({ seq, at, event, previousHash });
    await tx.appendAudit(
      this.#repository.chain,
      { seq, at, event, previousHash, hash },
      this.#signer.sign({ seq, hash, at }),
    );
  }

  /** An event that stands alone. */
  record(event: AuditEvent): Promise<void> {
    return this.#repository.transaction((tx) => this.append(tx, event));
  }

  head(): Promise<AuditHead | undefined> {
    return this.#repository.transaction((tx) => tx.auditHead(this.#repository.chain));
  }

  changed(changes: readonly Change[]): void {
    if (changes.some((change) => change.kind === 'audit')) for (const wake of this.#followers) wake();
  }

  /** Entries after `after`, at most `limit`, oldest first; with `follow` also those still to come, until `signal` aborts. */
  async *read(options: {
    after: number;
    limit: number;
    follow: boolean;
    signal: AbortSignal;
  }): AsyncGenerator<AuditEntry> {
    const { follow, signal } = options;
    let { after, limit } = options;
    while (limit > 0 && !signal.aborted) {
      // Armed before the look, so that nothing falls between look and wait.
      const more = this.#nextCommit(signal);
      const page = await this.#repository.transaction((tx) =>
        tx.auditEntries(this.#repository.chain, after, Math.min(limit, PAGE_ENTRIES)),
      );
      for (const entry of page) yield entry;
      after = page.at(-1)?.seq ?? after;
      limit -= page.length;
      if (page.length > 0) continue;
      if (!follow) return;
      await more;
    }
  }

  #nextCommit(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.#followers.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#followers.add(wake);
      signal.addEventListener('abort', wake);
    });
  }
}
