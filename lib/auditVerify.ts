import type { AuditCheckpoint, AuditEntry, AuditHead, AuditKeyLink } from '../api/admin.ts';
import {
  auditCheckpointSigned,
  auditGenesis,
  auditHash,
  auditHeadSigned,
  auditKeyLinkSigned,
  canonicalJson,
  SOLE_AUDIT_CHAIN,
} from './auditChain.ts';
import { errorText } from './errors.ts';

export interface AuditVerdict {
  /** Entries that were read. */
  entries: number;
  /** In the order they were found; empty if the audit is whole. */
  problems: AuditProblem[];
  /** Checkpoints that a chain begins at, where it does not begin at its first entry. */
  checkpoints?: AuditCheckpoint[];
}

export interface AuditProblem {
  /** Absent for the sole chain. */
  chain?: string;
  seq: number;
  message: string;
}

/**
 * Reads whole chains, each first entry first, and checks that nothing in them was edited, left out, moved or cut off.
 *
 * `heads` are signed heads from wherever one was kept (the store, the audit.head file): each must name an entry of its chain and be
 * signed by the key in force there. Read the heads from a running store before the entries: a chain may be longer than a head, never
 * shorter. `checkpoints` say where chains begin that were pruned; `believed`,
 * by chain, what is believed to come before the first entry where neither is at hand. Takes the same memory however many entries there are.
 */
export async function verifyAudit(
  entries: AsyncIterable<AuditEntry> | Iterable<AuditEntry>,
  heads: readonly AuditHead[],
  checkpoints: readonly AuditCheckpoint[] = [],
  believed: ReadonlyMap<string, { seq: number; hash: string }> = new Map(),
): Promise<AuditVerdict> {
  const chains = new Map<string, ChainCheck>();
  const chainOf = (name: string | undefined): ChainCheck => {
    const chain = name ?? SOLE_AUDIT_CHAIN;
    let check = chains.get(chain);
    if (check === undefined) {
      const of = (one: { chain?: string }) => (one.chain ?? SOLE_AUDIT_CHAIN) === chain;
      check = new ChainCheck(chain, heads.filter(of), checkpoints.filter(of), believed.get(chain));
      chains.set(chain, check);
    }
    return check;
  };
  for (const { chain } of [...heads, ...checkpoints]) chainOf(chain);
  let count = 0;
  for await (const entry of entries) {
    count += 1;
    chainOf(entry.chain).next(entry);
  }
  const checks = [...chains.values()];
  const problems = checks.flatMap((check) => check.end());
  const begins = checks.flatMap(({ checkpoint }) => checkpoint ?? []);
  return { entries: count, problems, ...(begins.length > 0 && { checkpoints: begins }) };
}

/** One chain as it is read. */
class ChainCheck {
  /** Where the chain begins, if entries before were pruned. */
  readonly checkpoint: AuditCheckpoint | undefined;
  readonly #chain: string;
  readonly #heads: readonly AuditHead[];
  readonly #problems: AuditProblem[] = [];
  /** Hashes of the entries that heads name. */
  readonly #hashes = new Map<number, string | undefined>();
  readonly #rotations: (AuditKeyLink & { seq: number })[] = [];
  #checkpointSeq: number | undefined;
  #last: { seq: number; hash: string };

  readonly #begin: number;

  constructor(
    chain: string,
    heads: readonly AuditHead[],
    checkpoints: readonly AuditCheckpoint[],
    begin: { seq: number; hash: string } | undefined,
  ) {
    this.#chain = chain;
    this.#heads = heads;
    for (const { seq } of heads) this.#hashes.set(seq, undefined);
    this.checkpoint = checkpoints.reduce<AuditCheckpoint | undefined>(
      (newest, one) => (newest === undefined || one.seq > newest.seq ? one : newest),
      undefined,
    );
    this.#last = begin ?? this.checkpoint ?? { seq: 0, hash: auditGenesis(chain) };
    this.#begin = this.#last.seq;
    if (this.#hashes.has(this.#last.seq)) this.#hashes.set(this.#last.seq, this.#last.hash);
  }

  next(entry: AuditEntry): void {
    const problem = entryProblem(entry, this.#last);
    if (problem !== undefined) this.#problem(entry.seq, problem);
    if (this.#hashes.has(entry.seq)) this.#hashes.set(entry.seq, entry.hash);
    const { kind } = entry.event;
    if (kind === 'audit.key-rotated') this.#rotated(entry);
    else if (kind === 'audit.pruned' && this.#records(entry)) this.#checkpointSeq = entry.seq;
    this.#last = entry;
  }

  end(): AuditProblem[] {
    for (const head of this.#heads) this.#checkHead(head);
    if (this.checkpoint !== undefined) this.#checkCheckpoint(this.checkpoint);
    return this.#problems;
  }

  #rotated({ seq, event }: AuditEntry): void {
    const link = event.link as AuditKeyLink;
    const before = this.#rotations.at(-1)?.publicKeyPem;
    if (!auditKeyLinkSigned(link)) this.#problem(seq, 'the new key is not signed by the one before it');
    else if (before !== undefined && link.previousPublicKeyPem !== before)
      this.#problem(seq, 'the new key follows another one than the key in force');
    else this.#rotations.push({ ...link, seq });
  }

  /** Whether the entry tells of the very checkpoint that the chain begins at. */
  #records({ event }: AuditEntry): boolean {
    const { checkpoint } = event;
    if (this.checkpoint === undefined || typeof checkpoint !== 'object') return false;
    return canonicalJson(checkpoint) === canonicalJson(this.checkpoint);
  }

  /** The key that signs at an entry; undefined where nothing in the chain tells. */
  #keyAt(seq: number): string | undefined {
    const before = this.#rotations.findLast((rotation) => rotation.seq <= seq);
    return before?.publicKeyPem ?? this.#rotations[0]?.previousPublicKeyPem ?? this.#heads[0]?.publicKeyPem;
  }

  #checkHead(head: AuditHead): void {
    const { seq, at } = head;
    if (!auditHeadSigned(head)) {
      this.#problem(seq, 'the signature of the head does not verify');
      return;
    }
    // What was pruned cannot be compared any more, nor is it known who signed then.
    if (seq < this.#begin) return;
    if (head.publicKeyPem !== this.#keyAt(seq))
      this.#problem(seq, `two heads are signed by different keys, or one by a key that was not in force (${at})`);
    if (seq > this.#last.seq)
      this.#problem(
        this.#last.seq,
        `the chain ends here, but a head of ${at} was signed at entry ${seq}: the end was cut off`,
      );
    else if (this.#hashes.get(seq) !== head.hash)
      this.#problem(seq, `the signed head of ${at} has another hash for this entry`);
  }

  #checkCheckpoint(checkpoint: AuditCheckpoint): void {
    const { seq } = checkpoint;
    if (!auditCheckpointSigned(checkpoint))
      this.#problem(seq, 'the signature of the checkpoint does not verify: it is forged');
    else if (this.#checkpointSeq === undefined)
      this.#problem(
        seq,
        'no entry of the chain tells of the checkpoint that it begins at: it is forged, or of another chain',
      );
    else if (checkpoint.publicKeyPem !== this.#keyAt(this.#checkpointSeq))
      this.#problem(seq, 'the checkpoint is signed by a key that was not in force: it is forged');
  }

  #problem(seq: number, message: string): void {
    this.#problems.push({ ...(this.#chain !== SOLE_AUDIT_CHAIN && { chain: this.#chain }), seq, message });
  }
}

function entryProblem(entry: AuditEntry, last: { seq: number; hash: string }): string | undefined {
  if (entry.seq !== last.seq + 1) return `entry ${last.seq} is followed by ${entry.seq}: entries were removed or moved`;
  if (entry.previousHash !== last.hash) return 'its previousHash is not the hash of the entry before it';
  try {
    if (auditHash(entry) !== entry.hash) return 'its content does not have its hash: it was edited';
  } catch (error) {
    return `its content cannot be hashed: ${errorText(error)}`;
  }
  return undefined;
}
