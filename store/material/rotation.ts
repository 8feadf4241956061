import type { CredentialRecord } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Change, MaterialHead, Repository } from '../persist/repository.ts';
import type { State } from '../state.ts';
import type { Materials } from './materials.ts';

interface Due {
  version: number;
  /** Monotonic milliseconds, as the other. */
  rotateAtMs: number | undefined;
  dropPreviousAtMs: number | undefined;
}

/** Replaces generated material when its time has come, and drops the version before it when their overlap is over. */
export class Rotation {
  readonly #clock: Clock;
  readonly #state: State;
  readonly #repository: Repository;
  readonly #materials: Materials;
  readonly #due = new Map<string, Due>();

  constructor(options: { clock: Clock; state: State; repository: Repository; materials: Materials }) {
    this.#clock = options.clock;
    this.#state = options.state;
    this.#repository = options.repository;
    this.#materials = options.materials;
    for (const key of this.#state.credentials.keys()) this.#plan(key);
  }

  changed(changes: readonly Change[]): void {
    for (const change of changes)
      if (change.kind === 'credential' || change.kind === 'material') this.#plan(change.key);
  }

  async tick(): Promise<void> {
    const nowMs = this.#clock.monotonicMs();
    for (const [key, due] of this.#due) {
      if (due.rotateAtMs !== undefined && due.rotateAtMs <= nowMs) await this.#rotate(key, due.version);
      else if (due.dropPreviousAtMs !== undefined && due.dropPreviousAtMs <= nowMs) {
        await this.#repository.transaction((tx) => tx.materials.deleteBefore(key, due.version));
        due.dropPreviousAtMs = undefined;
      }
    }
  }

  async #rotate(key: string, version: number): Promise<void> {
    await this.#repository.transaction(async (tx) => {
      const record = await tx.credentials.get(key);
      if ((await tx.materials.newest(key))?.version === version)
        await this.#materials.generate(tx, key, record?.generated);
    });
  }

  #plan(key: string): void {
    const record = this.#state.credentials.get(key);
    const head = this.#state.materialInForce(key);
    if (record?.generated === undefined || head === undefined) this.#due.delete(key);
    else this.#due.set(key, this.#dueOf(record, record.generated, head));
  }

  #dueOf(record: CredentialRecord, policy: NonNullable<CredentialRecord['generated']>, head: MaterialHead): Due {
    const { overlapSeconds } = policy;
    const bornMs = this.#state.ages.bornMs(head);
    const rotateSeconds = Math.min(policy.rotateSeconds ?? Number.POSITIVE_INFINITY, lastRotationSeconds(record));
    return {
      version: head.version,
      rotateAtMs: Number.isFinite(rotateSeconds) ? bornMs + rotateSeconds * 1000 : undefined,
      dropPreviousAtMs: overlapSeconds === undefined ? undefined : bornMs + overlapSeconds * 1000,
    };
  }
}

/** The age at which a version has to be replaced so that no lease of it is cut short by the end of its life; half of that at the least. */
function lastRotationSeconds({ leaseSeconds, maxLifetimeSeconds }: CredentialRecord): number {
  if (maxLifetimeSeconds === undefined) return Number.POSITIVE_INFINITY;
  return Math.max(maxLifetimeSeconds - leaseSeconds, maxLifetimeSeconds / 2);
}
