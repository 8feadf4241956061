import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KekKeyStatus, KekRotationStatus, KekStatus } from '../../api/kek.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorCode, errorText } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { Audit } from '../audit/audit.ts';
import { storeError, storeErrorCode } from '../errors.ts';
import type { Change, Repository } from '../persist/repository.ts';
import { KekError, type KekProvider, type WrappedKey } from './kek.ts';
import { ownKeys, sum, takeCensus } from './kekCensus.ts';
import { createKekFile } from './kekFile.ts';
import { writeKekPlaces } from './kekPlaces.ts';
import { type KekSpec, openKek, sameKek } from './kekSpec.ts';
import { StoreSealed } from './sealed.ts';
import { KEK_ID, type Vault } from './vault.ts';

/** Name in the meta table of the rotation that goes on. */
const ROTATION = 'kek rotation';
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 30_000;
/** Calls to a KMS at one time. */
const PARALLEL = 8;
/** How often the database is asked whether another replica has begun a rotation. */
const LOOK_MS = 5_000;
/** How often it is looked whether a backup that reads with the old key is done. */
const RELEASE_LOOK_MS = 100;
const OF_A_DISK: ReadonlySet<string> = new Set(['EIO', 'ENOSPC', 'EROFS', 'EDQUOT']);
const PROBE = Buffer.from('sidekey kek probe');

interface Running {
  from: string;
  to: string;
  startedAt: string;
  by: string;
}

/** Keys that a pass did not bring over. */
interface Leftover {
  left: number;
  damaged: number;
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
  #starting: Promise<void> | undefined;
  #ticking: Promise<void> | undefined;
  #work: Promise<void> | undefined;
  #done = 0;
  #total = 0;
  #problem: string | undefined;
  #nextLookMs = 0;

  constructor(options: KekRotationOptions) {
    this.#o = options;
  }

  async status(): Promise<KekStatus> {
    const { repository, vault } = this.#o;
    const census = await takeCensus(repository);
    const running = await this.#running();
    const { keyring } = vault;
    const known = keyring.providers.flatMap(({ provider }) => provider.keys.map((key) => ({ ...key, provider })));
    const ids = new Set([...known.map(({ id }) => id), ...census.dataKeys.keys(), ...census.ownKeys.keys()]);
    ids.delete('');
    const keys = [...ids].map((id): KekKeyStatus => {
      const key = known.find((one) => one.id === id);
      return {
        id,
        ...(key && { kind: key.provider.kind, where: key.provider.where }),
        ...(key?.createdAtMs !== undefined && { createdAt: new Date(key.createdAtMs).toISOString() }),
        current: id === keyring.current,
        dataKeys: census.dataKeys.get(id) ?? 0,
        ownKeys: (census.ownKeys.get(id) ?? 0) + (id === keyring.current ? (census.ownKeys.get('') ?? 0) : 0),
      };
    });
    return {
      ...(keyring.sealed && { sealed: keyring.sealed }),
      keys,
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
    const { repository, audit, clock, vault } = this.#o;
    if (this.#work === undefined) {
      const target = await this.#target(to);
      const census = await takeCensus(repository);
      // All of them, so that a process that starts in the middle knows where the old keys are.
      writeKekPlaces(
        this.#o.stateDir,
        vault.keyring.providers.map(({ spec }) => spec),
      );
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
      if (running !== undefined) {
        vault.keyring.current = running.to;
        this.#begin(running);
      }
    }
  }

  /** Goes on with what an earlier process has begun, and clears away what one has left. */
  async resume(): Promise<void> {
    const running = await this.#running();
    if (running === undefined) {
      await this.#clearAway();
      return;
    }
    this.#o.log.info({ from: running.from, to: running.to }, 'the rotation of the KEK goes on');
    await this.#o.audit.record({ kind: 'kek.rotation.resumed', from: running.from, to: running.to });
    this.#begin(running);
  }

  /** What another replica has done is taken over at the next tick. */
  changed(changes: readonly Change[]): void {
    if (changes.some((change) => change.kind === 'meta' && change.name === KEK_ID)) this.#nextLookMs = 0;
  }

  /** Looks at providers; takes over what another replica or the keeper of the keys has changed. */
  async tick(): Promise<void> {
    this.#ticking ??= this.#tick().finally(() => {
      this.#ticking = undefined;
    });
    await this.#ticking;
  }

  async #tick(): Promise<void> {
    const { audit, clock, repository, vault } = this.#o;
    const { keyring } = vault;
    vault.tick();
    const { sealed, unsealed } = await keyring.tick();
    if (sealed !== undefined) await audit.record({ kind: 'store.sealed', code: sealed.code });
    if (unsealed) await audit.record({ kind: 'store.unsealed' });
    if (keyring.sealed !== undefined || this.#work !== undefined) return;
    const newest = keyring.provider?.keys.at(-1)?.id;
    if (newest !== undefined && newest !== keyring.current && keyring.provider?.kind !== 'file')
      await this.#adopt(newest);
    if (clock.monotonicMs() < this.#nextLookMs) return;
    this.#nextLookMs = clock.monotonicMs() + LOOK_MS;
    const current = (await repository.transaction((tx) => tx.meta.get(KEK_ID)))?.toString();
    // Another replica has moved on. Where this one was not told of the place, it is sealed until it is.
    if (current !== undefined) keyring.current = current;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#work;
  }

  /** Resolves when no rotation goes on, or this process ends. */
  async settled(): Promise<void> {
    await this.#work;
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

  /** The key to rotate to: made if that can be done here, and tried before anything depends on it. */
  async #target(to: KekSpec | undefined): Promise<string> {
    const { keyring } = this.#o.vault;
    const inForce = keyring.providers.find(({ provider }) => provider.knows(keyring.current));
    if (inForce === undefined || keyring.sealed !== undefined) throw storeError('StoreSealed', keyring.sealed?.message);
    const { stateDir } = this.#o;
    const spec = to ?? inForce.spec;
    let entry = keyring.providers.find((one) => sameKek(one.spec, spec, stateDir));
    try {
      if (entry === undefined) {
        if ('file' in spec && !existsSync(resolve(stateDir, spec.file))) createKekFile(resolve(stateDir, spec.file));
        const provider = openKek(spec, stateDir);
        await provider.health();
        entry = { spec, provider };
        keyring.add(spec, provider);
      } else await entry.provider.health(keyring.held);
      const id = await this.#newKey(entry.provider);
      const probe = await entry.provider.wrap(id, PROBE, PROBE);
      (await entry.provider.unwrap(probe, PROBE)).fill(0);
      return id;
    } catch (error) {
      const code = storeErrorCode(error);
      if (code !== undefined && code !== 'KekNotRotatable' && !code.startsWith('Kek')) throw error;
      if (OF_A_DISK.has(errorCode(error) ?? ''))
        throw storeError('StorageFailed', `The new key could not be written: ${errorText(error)}`, { cause: error });
      throw storeError('KekNotRotatable', errorText(error), { cause: error });
    }
  }

  /** @throws KekNotRotatable where keys are made elsewhere, and none was */
  async #newKey(provider: KekProvider): Promise<string> {
    const { repository, vault } = this.#o;
    const { current } = vault.keyring;
    const newest = provider.keys.at(-1)?.id;
    const census = await takeCensus(repository);
    const others = [...census.dataKeys.keys(), ...census.ownKeys.keys()].filter((id) => id !== current && id !== '');
    // A new one that does not wrap yet, or the current one where not all is under it.
    if (newest !== undefined && (newest !== current || others.length > 0)) return newest;
    if (provider.makeKey !== undefined) return provider.makeKey();
    throw storeError(
      'KekNotRotatable',
      `${provider.where} has no newer key than ${newest}: add one to the Secret, by a name that sorts after those there, and try again.`,
    );
  }

  #begin(running: Running): void {
    this.#work = this.#run(running)
      .catch((error: unknown) => {
        this.#o.log.error(
          { error: errorText(error) },
          'the rotation of the KEK stopped; the next start goes on with it',
        );
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
        const { left, damaged } = await this.#pass(running);
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

  /** Once through all keys. What is left was changed meanwhile; what is damaged no key opens. */
  async #pass({ to }: Running): Promise<Leftover> {
    const { repository, batch } = this.#o;
    const census = await takeCensus(repository);
    this.#total = sum(census.dataKeys) + sum(census.ownKeys);
    this.#done = (census.dataKeys.get(to) ?? 0) + (census.ownKeys.get(to) ?? 0);
    const over: Leftover = { left: await this.#ownKeysTo(to), damaged: 0 };
    for (let after = ''; !this.#closing.signal.aborted; ) {
      const page = await repository.transaction((tx) => tx.dataKeys.page(after, batch));
      const old = page.filter(({ key }) => key.kekId !== to);
      if (old.length > 0) {
        const { left, damaged } = await this.#dataKeysTo(to, old);
        over.left += left;
        over.damaged += damaged;
      }
      if (page.length < batch) break;
      after = page.at(-1)!.credential;
    }
    return over;
  }

  async #dataKeysTo(to: string, old: { credential: string; key: WrappedKey }[]): Promise<Leftover> {
    const { repository, vault } = this.#o;
    const wrapped = await inParallel(old, async ({ credential, key }) => {
      try {
        return { credential, before: key, after: await vault.rewrapDataKey(credential, key, to) };
      } catch (error) {
        // Damaged long ago: it stays as it is. Setting the material again makes another.
        if (error instanceof KekError && error.code === 'KekRefused') return undefined;
        throw error;
      }
    });
    const whole = wrapped.filter((one) => one !== undefined);
    const brought = await repository.transaction(async (tx) => {
      let count = 0;
      for (const { credential, before, after } of whole) {
        const now = await tx.dataKeys.get(credential);
        if (now === undefined || now.kekId !== before.kekId || !now.wrapped.equals(before.wrapped)) continue;
        await tx.dataKeys.put(credential, after);
        count += 1;
      }
      return count;
    });
    this.#done += brought;
    return { left: whole.length - brought, damaged: old.length - whole.length };
  }

  async #ownKeysTo(to: string): Promise<number> {
    const { repository, vault } = this.#o;
    let left = 0;
    for (const { name, value, kekId } of await ownKeys(repository)) {
      if (kekId === to) continue;
      // Not damage that one could live with: without its own keys a store does not start.
      const rewrapped = await vault.rewrapOwn(name, value, to);
      const brought = await repository.transaction(async (tx) => {
        if (!(await tx.meta.get(name))?.equals(value)) return false;
        await tx.meta.set(name, rewrapped);
        return true;
      });
      if (brought) this.#done += 1;
      else left += 1;
    }
    return left;
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
    const { repository, audit, log, vault } = this.#o;
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
    writeKekPlaces(
      this.#o.stateDir,
      providers.filter(({ provider }) => provider.knows(to)).map(({ spec }) => spec),
    );
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
      for (const id of [...census.dataKeys.keys(), ...census.ownKeys.keys()]) keep.add(id);
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
      done: Math.min(this.#done, this.#total),
      total: this.#total,
      ...(this.#problem !== undefined && { problem: this.#problem }),
    };
  }
}

/** The results in order; as many at a time as a KMS takes. */
async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  const one = async () => {
    while (next < items.length) {
      const index = next;
      next += 1;
      results[index] = await work(items[index]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, one));
  return results;
}
