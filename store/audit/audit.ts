import type { AuditChain, AuditCheckpoint, AuditEntry, AuditEvent, AuditHead, AuditPruned } from '../../api/admin.ts';
import { auditGenesis, auditHash, SOLE_AUDIT_CHAIN } from '../../lib/auditChain.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Change, Repository, Transaction } from '../persist/repository.ts';
import type { Vault } from '../vault/vault.ts';
import { checkpointOf, keyLinks, linksBetween, setCheckpoint } from './anchors.ts';
import { AuditSigner } from './signer.ts';

/** Most entries that are read into memory at once. */
const PAGE_ENTRIES = 256;
/** Entries that one transaction deletes, so that pruning keeps nobody waiting. */
const PRUNE_ENTRIES = 5_000;
/** After this time every process that lives has taken up a new key (core.ts looks once a minute). */
const KEY_TAKEN_UP_MS = 600_000;

export interface AuditReading {
  /** The one this process writes, unless it says so. */
  chain?: string | undefined;
  after: number;
  limit: number;
  /** RFC 3339 with milliseconds, as entries have it: the last time that is read. */
  until?: string | undefined;
  /** Only entries of these kinds. */
  kinds?: ReadonlySet<string> | undefined;
  /** Also entries still to come, until `signal` aborts. */
  follow: boolean;
  signal: AbortSignal;
}

/** The store's record of what happened: a hash chain whose end is signed with each entry, in the transaction of what it records. */
export class Audit {
  readonly #clock: Clock;
  readonly #repository: Repository;
  readonly #vault: Vault;
  #signer: AuditSigner;
  /** Keys that are about to take over: which one is in force, the transaction tells. */
  readonly #successors = new Map<string, AuditSigner>();
  /** Monotonic; since when this process signs with its key. */
  #keySinceMs: number;
  readonly #followers = new Set<() => void>();

  constructor(options: { clock: Clock; repository: Repository; vault: Vault; signer: AuditSigner }) {
    this.#clock = options.clock;
    this.#repository = options.repository;
    this.#vault = options.vault;
    this.#signer = options.signer;
    this.#keySinceMs = options.clock.monotonicMs();
  }

  /** The chain that this process writes. */
  get chain(): string {
    return this.#repository.chain;
  }

  append(tx: Transaction, event: AuditEvent): Promise<void> {
    return this.#appendTo(tx, this.chain, event);
  }

  /** An event that stands alone. */
  record(event: AuditEvent): Promise<void> {
    return this.#repository.transaction((tx) => this.append(tx, event));
  }

  head(): Promise<AuditHead | undefined> {
    return this.#repository.transaction((tx) => tx.audit.head(this.chain));
  }

  /** All chains, those of other processes too. */
  chains(): Promise<AuditChain[]> {
    return this.#repository.transaction(async (tx) => {
      const chains: AuditChain[] = [];
      for (const chain of await tx.audit.chains()) {
        const head = await tx.audit.head(chain);
        const checkpoint = await checkpointOf(tx, chain);
        chains.push({ chain, own: chain === this.chain, ...(head && { head }), ...(checkpoint && { checkpoint }) });
      }
      return chains;
    });
  }

  /** The first entry of that time (RFC 3339 with milliseconds) or later, one after the last if there is none. */
  seqAt(chain: string, at: string): Promise<number> {
    return this.#repository.transaction((tx) => tx.audit.seqAt(chain, at));
  }

  changed(changes: readonly Change[]): void {
    if (changes.some((change) => change.kind === 'audit')) for (const wake of this.#followers) wake();
  }

  /** Entries after `after`, at most `limit`, oldest first. */
  async *read(reading: AuditReading): AsyncGenerator<AuditEntry> {
    const { chain = this.chain, follow, kinds, signal, until } = reading;
    let { after, limit } = reading;
    while (limit > 0 && !signal.aborted) {
      // Armed before the look, so that nothing falls between look and wait.
      const more = this.#nextCommit(signal);
      const page = await this.#page(chain, after, kinds === undefined ? Math.min(limit, PAGE_ENTRIES) : PAGE_ENTRIES);
      for (const entry of page) {
        if (until !== undefined && entry.at > until) return;
        if (kinds?.has(entry.event.kind) === false) continue;
        yield entry;
        limit -= 1;
        if (limit === 0) return;
      }
      after = page.at(-1)?.seq ?? after;
      if (page.length > 0) continue;
      if (!follow) return;
      await more;
    }
  }

  /**
   * Forgets what is older than `before` (RFC 3339 with milliseconds), in every chain: a signed checkpoint is where the chain begins from
   * then on, and an entry tells of it. The last entry always stays.
   */
  async prune(before: string, by: string): Promise<AuditPruned[]> {
    const result: AuditPruned[] = [];
    for (const { chain } of await this.chains()) {
      const checkpoint = await this.#repository.transaction((tx) => this.#checkpoint(tx, chain, before, by));
      if (checkpoint === undefined) result.push({ chain, pruned: 0 });
      else result.push({ chain, pruned: await this.#forget(chain, checkpoint.seq), checkpoint });
    }
    return result;
  }

  /** Signs with a new key from now on. */
  async rotateKey(by: string): Promise<string> {
    await this.followKey();
    const before = this.#signer;
    try {
      // May be run more than once; the last time counts.
      const after = await this.#repository.transaction(async (tx) => {
        const newest = (await keyLinks(tx)).at(-1)?.publicKeyPem ?? before.publicKeyPem;
        if (newest !== before.publicKeyPem) throw new Error('another process has just made a new key of the audit');
        const { signer, link } = await before.successor(tx, this.#vault);
        this.#successors.set(signer.publicKeyPem, signer);
        await this.append(tx, { kind: 'audit.key-rotated', link, by });
        return signer;
      });
      this.#use(after);
    } finally {
      this.#successors.clear();
    }
    return this.#signer.publicKeyPem;
  }

  /** Takes up a new key that another process made, or this one before it ended, and says so in the chain. */
  async followKey(): Promise<void> {
    const newest = await this.#repository.transaction(async (tx) => (await keyLinks(tx)).at(-1)?.publicKeyPem);
    if (newest !== undefined && newest !== this.#signer.publicKeyPem)
      this.#use(await AuditSigner.load(this.#repository, this.#vault));
    await this.#repository.transaction((tx) => this.#followIn(tx, this.chain));
  }

  #use(signer: AuditSigner): void {
    this.#signer = signer;
    this.#keySinceMs = this.#clock.monotonicMs();
  }

  /** Puts on record in a chain which keys came after the one that signed its head. */
  async #followIn(tx: Transaction, chain: string): Promise<void> {
    const head = await tx.audit.head(chain);
    if (head === undefined || head.publicKeyPem === this.#signer.publicKeyPem) return;
    const missing = linksBetween(await keyLinks(tx), head.publicKeyPem, this.#signer.publicKeyPem) ?? [];
    for (const link of missing) await this.#appendTo(tx, chain, { kind: 'audit.key-rotated', link, by: 'store' });
  }

  async #signerIn(tx: Transaction): Promise<AuditSigner> {
    if (this.#successors.size === 0) return this.#signer;
    const newest = (await keyLinks(tx)).at(-1)?.publicKeyPem;
    return this.#successors.get(newest ?? '') ?? this.#signer;
  }

  /** Whether this process may write a chain of another: not while its writer, should it live, does not sign with our key yet. */
  async #mayWrite(tx: Transaction, chain: string): Promise<boolean> {
    if (chain === this.chain) return true;
    const head = await tx.audit.head(chain);
    return (
      head?.publicKeyPem === this.#signer.publicKeyPem || this.#clock.monotonicMs() - this.#keySinceMs > KEY_TAKEN_UP_MS
    );
  }

  async #appendTo(tx: Transaction, chain: string, event: AuditEvent): Promise<void> {
    const end = await tx.audit.end(chain);
    const seq = (end?.seq ?? 0) + 1;
    const at = new Date(this.#clock.nowMs()).toISOString();
    const previousHash = end?.hash ?? auditGenesis(chain);
    const hash = auditHash({ seq, at, event, previousHash });
    const signer = await this.#signerIn(tx);
    await tx.audit.append(
      chain,
      { seq, at, event, previousHash, hash },
      signer.sign({ ...named(chain), seq, hash, at }),
    );
  }

  async #page(chain: string, after: number, limit: number): Promise<AuditEntry[]> {
    return this.#repository.transaction(async (tx) => {
      const begin = (await checkpointOf(tx, chain))?.seq ?? 0;
      return tx.audit.entries(chain, Math.max(after, begin), limit);
    });
  }

  async #checkpoint(tx: Transaction, chain: string, before: string, by: string): Promise<AuditCheckpoint | undefined> {
    const known = await checkpointOf(tx, chain);
    const begin = known?.seq ?? 0;
    const end = await tx.audit.end(chain);
    const seq = Math.min(await tx.audit.seqAt(chain, before), end?.seq ?? 0) - 1;
    if (seq <= begin || !(await this.#mayWrite(tx, chain))) return undefined;
    await this.#followIn(tx, chain);
    const [last] = await tx.audit.entries(chain, seq - 1, 1);
    const signer = await this.#signerIn(tx);
    const checkpoint = signer.checkpoint({
      ...named(chain),
      seq,
      hash: last!.hash,
      at: new Date(this.#clock.nowMs()).toISOString(),
      pruned: (known?.pruned ?? 0) + seq - begin,
    });
    await setCheckpoint(tx, chain, checkpoint);
    await this.#appendTo(tx, chain, { kind: 'audit.pruned', before, by, checkpoint });
    return checkpoint;
  }

  /** Deletes up to and including `uptoSeq`, step by step; what a crash leaves is not read any more, and goes the next time. */
  async #forget(chain: string, uptoSeq: number): Promise<number> {
    const [first] = await this.#repository.transaction((tx) => tx.audit.entries(chain, 0, 1));
    const begin = (first?.seq ?? uptoSeq + 1) - 1;
    for (let seq = begin; seq < uptoSeq; ) {
      seq = Math.min(uptoSeq, seq + PRUNE_ENTRIES);
      await this.#repository.transaction((tx) => tx.audit.prune(chain, seq));
    }
    return Math.max(0, uptoSeq - begin);
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

/** The sole chain goes without a name in what is signed, as it always has. */
function named(chain: string): { chain?: string } {
  return chain === SOLE_AUDIT_CHAIN ? {} : { chain };
}
