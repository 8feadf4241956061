import { setTimeout as sleep } from 'node:timers/promises';
import type { KekRotationStatus, KekStatus } from '../../api/kek.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { Audit } from '../audit/audit.ts';
import type { Repository } from '../persist/repository.ts';
import { idsIn, keyStatuses, sum, takeCensus } from './kekCensus.ts';
import { writeKekPlaces } from './kekPlaces.ts';
import { KekRewrap } from './kekRewrap.ts';
import type { KekSpec } from './kekSpec.ts';
import { targetKey } from './kekTarget.ts';
import { StoreSealed } from './sealed.ts';
import { KEK_ID, type Vault } from './vault.ts';

/** Name in the meta table of the rotation that goes on. */
export const ROTATION = 'kek rotation';
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 30_000;
/** How often it is looked whether a backup that reads with the old key is done. */
const RELEASE_LOOK_MS = 100;

interface Running {
  from: string;
  to: string;
  startedAt: string;
  by: string;
}

export interface KekRotationOptions {
  repository: Repository;
  vault: Vault;
  audit: Audit;
  clock: Clock;
  log: Logger;
  stateDir: string;
  /** Data keys that are wrapped anew in one transaction. */
  batch: number;
}

/**
 * Brings every key of the database under another KEK while the store serves.
 *
 * One transaction makes the new KEK the one that wraps, so that the old one is used for nothing new from then on. Batches follow,
 * each in a transaction of its own and each key only if it is still what was read; whatever is cut short is done anew by the next
 * process. The old KEK is forgotten when a count finds nothing under it.
 */
export class KekRotation {
  readonly #o: KekRotationOptions;
  readonly #closing = new AbortController();
  readonly #rewrap: KekRewrap;
  #starting: Promise<void> | undefined;
  #work: Promise<void> | undefined;
  #problem: string | undefined;

  constructor(options: KekRotationOptions) {
    this.#o = options;
    this.#rewrap = new KekRewrap({ ...options, signal: this.#closing.signal });
  }

  async status(): Promise<KekStatus> {
    const { keyring } = this.#o.vault;
    const census = await takeCensus(this.#o.repository);
    const running = await this.#running();
    return {
      ...(keyring.sealed && { sealed: keyring.sealed }),
      keys: keyStatuses(keyring, census),
      ...(running && { rotation: this.#progress(running) }),
    };
  }

  /** Begins a rotation, or says of the one that goes on. @throws KekNotRotatable, StoreSealed */
  async start(to: KekSpec | undefined, by: string): Promise<KekStatus> {
    this.#starting ??= this.#start(to, by).finally(() => {
      this.#starting = undefined;
    });
    await this.#starting;
    return this.status();
  }

  /** The rotation that goes on. */
  async progress(): Promise<KekRotationStatus | undefined> {
    const running = await this.#running();
    return running && this.#progress(running);
  }

  async #start(to: KekSpec | undefined, by: string): Promise<void> {
    if (this.#work !== undefined) return;
    const { repository, audit, clock, vault, stateDir } = this.#o;
    const { keyring } = vault;
    const target = await targetKey({ repository, keyring, stateDir }, to);
    const census = await takeCensus(repository);
    // All of them, so that a process that starts in the middle knows where the old keys are.
    const places = keyring.providers.map(({ spec }) => spec);
    writeKekPlaces(stateDir, places);
    await repository.transaction(async (tx) => {
      if ((await tx.meta.get(ROTATION)) !== undefined) return;
      const from = (await tx.meta.get(KEK_ID))?.toString() ?? '';
      const running: Running = { from, to: target, startedAt: new Date(clock.nowMs()).toISOString(), by };
      await tx.meta.set(KEK_ID, Buffer.from(target));
      await tx.meta.set(ROTATION, Buffer.from(JSON.stringify(running)));
      const counts = { dataKeys: sum(census.dataKeys), ownKeys: sum(census.ownKeys) };
      await audit.append(tx, { kind: 'kek.rotation.started', from, to: target, ...counts, by });
    });
    const running = await this.#running();
    if (running === undefined) return;
    keyring.current = running.to;
    this.#begin(running);
  }

  /** Goes on with what an earlier process has begun, and clears away what one has left. */
  async resume(): Promise<void> {
    const running = await this.#running();
    if (running === undefined) return this.#clearAway();
    this.#o.log.info({ from: running.from, to: running.to }, 'the rotation of the KEK goes on');
    await this.#o.audit.record({ kind: 'kek.rotation.resumed', from: running.from, to: running.to });
    this.#begin(running);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#work;
  }

  /** Whether one goes on here. */
  get isAtWork(): boolean {
    return this.#work !== undefined;
  }

  /** Resolves when no rotation goes on, or this process ends. */
  async settled(): Promise<void> {
    await this.#work;
  }

  #begin(running: Running): void {
    this.#work = this.#run(running)
      .catch((error: unknown) => {
        const detail = { error: errorText(error) };
        this.#o.log.error(detail, 'the rotation of the KEK stopped; the next start goes on with it');
      })
      .finally(() => {
        this.#work = undefined;
      });
  }

  async #run(running: Running): Promise<void> {
    const { log } = this.#o;
    let waitMs = FIRST_WAIT_MS;
    while (!this.#closing.signal.aborted) {
      try {
        const { left, damaged } = await this.#rewrap.pass(running.to);
        if (this.#closing.signal.aborted) return;
        if (left === 0 && (await this.#released()) && (await this.#finish(running, damaged))) return;
        waitMs = FIRST_WAIT_MS;
        this.#problem = undefined;
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        this.#problem = error instanceof StoreSealed ? error.reason.message : errorText(error);
        log.warn({ error: this.#problem, waitMs }, 'the rotation of the KEK does not get on');
        await sleep(waitMs, undefined, { signal: this.#closing.signal }).catch(() => {});
        waitMs = Math.min(waitMs * 2, LAST_WAIT_MS);
      }
    }
  }

  /** Waits for whoever reads an older state of the database, which needs the old key. False if this process ends meanwhile. */
  async #released(): Promise<boolean> {
    const { signal } = this.#closing;
    while (this.#o.vault.keyring.held && !signal.aborted) {
      this.#problem = 'all keys are under the new one; the old one is kept until the backup that is being made is done';
      await sleep(RELEASE_LOOK_MS, undefined, { signal }).catch(() => {});
    }
    this.#problem = undefined;
    return !signal.aborted;
  }

  /** False if something is under another key after all. */
  async #finish({ from, to }: Running, damaged: number): Promise<boolean> {
    const { repository, audit, log, stateDir, vault } = this.#o;
    const census = await takeCensus(repository);
    const others = sum(census.dataKeys) - (census.dataKeys.get(to) ?? 0);
    if (others > damaged || [...census.ownKeys.keys()].some((id) => id !== to)) return false;
    await repository.transaction(async (tx) => {
      if ((await tx.meta.get(ROTATION)) === undefined) return;
      await tx.meta.delete(ROTATION);
      const counts = { dataKeys: sum(census.dataKeys) - others, ownKeys: sum(census.ownKeys), damaged: others };
      await audit.append(tx, { kind: 'kek.rotation.finished', from, to, ...counts });
    });
    const { providers } = vault.keyring;
    const places = providers.filter(({ provider }) => provider.knows(to)).map(({ spec }) => spec);
    writeKekPlaces(stateDir, places);
    for (const { provider } of providers) await provider.retire?.(new Set([to]));
    await repository.compact?.();
    log.info({ from, to }, 'the KEK was rotated');
    return true;
  }

  /** Forgets keys that an earlier process had made or was about to forget when it ended. */
  async #clearAway(): Promise<void> {
    const { repository, vault } = this.#o;
    const { current, providers } = vault.keyring;
    const keep = new Set([current]);
    if (providers.some(({ provider }) => provider.retire && provider.keys.some(({ id }) => id !== current))) {
      const census = await takeCensus(repository);
      if (census.ownKeys.has('')) return; // They do not say which is theirs.
      for (const id of idsIn(census)) keep.add(id);
    }
    for (const { provider } of providers) await provider.retire?.(keep);
  }

  async #running(): Promise<Running | undefined> {
    const value = await this.#o.repository.transaction((tx) => tx.meta.get(ROTATION));
    return value && JSON.parse(value.toString());
  }

  #progress({ to, startedAt }: Running): KekRotationStatus {
    return {
      to,
      startedAt,
      ...this.#rewrap.progress,
      ...(this.#problem !== undefined && { problem: this.#problem }),
    };
  }
}
