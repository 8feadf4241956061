import type { Clock } from '../../lib/clock.ts';
import type { Audit } from '../audit/audit.ts';
import type { Change, Repository } from '../persist/repository.ts';
import { type KekRotation, ROTATION } from './kekRotation.ts';
import { KEK_ID, type Vault } from './vault.ts';

/** How often the database is asked whether another replica has begun a rotation. */
const LOOK_MS = 5_000;

export interface KekWatchOptions {
  repository: Repository;
  vault: Vault;
  audit: Audit;
  clock: Clock;
  rotation: KekRotation;
}

/** Looks at providers, and takes over what another replica or the keeper of the keys has changed. */
export class KekWatch {
  readonly #o: KekWatchOptions;
  #ticking: Promise<void> | undefined;
  #nextLookMs = 0;

  constructor(options: KekWatchOptions) {
    this.#o = options;
  }

  /** What another replica has done is taken over at the next tick. */
  changed(changes: readonly Change[]): void {
    if (changes.some((change) => change.kind === 'meta' && change.name === KEK_ID)) this.#nextLookMs = 0;
  }

  async tick(): Promise<void> {
    this.#ticking ??= this.#tick().finally(() => {
      this.#ticking = undefined;
    });
    await this.#ticking;
  }

  async #tick(): Promise<void> {
    const { audit, clock, repository, rotation, vault } = this.#o;
    const { keyring } = vault;
    vault.tick();
    const { sealed, unsealed } = await keyring.tick();
    if (sealed !== undefined) await audit.record({ kind: 'store.sealed', code: sealed.code });
    if (unsealed) await audit.record({ kind: 'store.unsealed' });
    if (keyring.sealed !== undefined || rotation.isAtWork) return;
    const newest = keyring.provider?.keys.at(-1)?.id;
    if (newest !== undefined && newest !== keyring.current && keyring.provider?.kind !== 'file')
      await this.#adopt(newest);
    if (clock.monotonicMs() < this.#nextLookMs) return;
    this.#nextLookMs = clock.monotonicMs() + LOOK_MS;
    const current = (await repository.transaction((tx) => tx.meta.get(KEK_ID)))?.toString();
    // Another replica has moved on. Where this one was not told of the place, it is sealed until it is.
    if (current !== undefined) keyring.current = current;
  }

  /** The newest key where keys are kept wraps from now on; what is under others stays there until somebody asks for a rotation. */
  async #adopt(newest: string): Promise<void> {
    const { repository, audit, vault } = this.#o;
    await repository.transaction(async (tx) => {
      const from = (await tx.meta.get(KEK_ID))?.toString();
      if (from === newest || (await tx.meta.get(ROTATION)) !== undefined) return;
      await tx.meta.set(KEK_ID, Buffer.from(newest));
      await audit.append(tx, { kind: 'kek.changed', from, to: newest });
    });
    vault.keyring.current = newest;
  }
}
