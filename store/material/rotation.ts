import type { CredentialRecord } from '../../api/protocol.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Change, MaterialHead, Repository } from '../persist/repository.ts';
import type { State } from '../state.ts';
import type { Materials } from './materials.ts';

interface Due {
  version: number;
  /** Monotonic milliseconds, as are the others. */
  bornMs: number;
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
        await this.#repository.transaction((tx) => tx.deleteOldMaterial(key, due.version));
        due.dropPreviousAtMs = undefined;
      }
    }
  }

  async #rotate(key: string, version: number): Promise<void> {
    await this.#repository.transaction(async (tx) => {
      const record = await tx.credential(key);
      if ((await tx.material(key))?.version === version) await this.#materials.generate(tx, key, record?.generated);
    });
  }

  #plan(key: string): void {
    const policy = this.#state.credentials.get(key)?.generated;
    const head = this.#state.materialInForce(key);
    if (policy === undefined || head === undefined) this.#due.delete(key);
    else this.#due.set(key, this.#dueOf(policy, head));
  }

  #dueOf(policy: NonNullable<CredentialRecord['generated']>, head: MaterialHead): Due {
    const { rotateSeconds, overlapSeconds } = policy;
    const before = this.#due.get(head.credential);
    const bornMs = before?.version === head.version ? before.bornMs : this.#bornMs(head);
    return {
      version: head.version,
      bornMs,
      rotateAtMs: rotateSeconds === undefined ? undefined : bornMs + rotateSeconds * 1000,
      dropPreviousAtMs: overlapSeconds === undefined ? undefined : bornMs + overlapSeconds * 1000,
    };
  }

  /** The wall clock is asked once, for what an earlier process has written: it may jump. */
  #bornMs(head: MaterialHead): number {
    return this.#clock.monotonicMs() - Math.max(0, this.#clock.nowMs() - head.writtenAtMs);
  }
}
