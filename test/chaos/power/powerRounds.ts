import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { StoreFailed, StoreProcess } from '../../store/storeProcess.ts';
import { check } from '../invariants.ts';
import { Ledger } from '../ledger.ts';
import { Random } from '../random.ts';
import { prepare, UPKEEP, work } from '../workload.ts';
import { type Power, powerEnv } from './shim.ts';

/** Operations on the disk before which the power may fail: starting takes some tens, a second of work some hundred. */
const OPERATIONS = 600;
const STARTING_OPERATIONS = 40;
const SYNCS = 120;
const WORK_LIMIT_MS = 2_500;

export interface PowerRoundsOptions {
  stateDir: string;
  seed: number;
  rounds: number;
  untilMs?: number;
  /** `power`: it fails; `eio`: an fsync does; `lie`: it fails, and the disk had lied. */
  fault: 'power' | 'eio' | 'lie';
  told?: (round: number) => void;
}

export interface PowerRounds {
  rounds: number;
  /** In how many the process ended by the fault, and in how many of these while it was starting. */
  struck: number;
  starting: number;
  counts: Ledger['counts'];
}

/** A store on a disk that fails, again and again on one database. @throws AssertionError by way of Error where a promise is broken */
export async function powerRounds(options: PowerRoundsOptions): Promise<PowerRounds> {
  const { fault, rounds, seed, stateDir, told, untilMs = Number.POSITIVE_INFINITY } = options;
  const random = new Random(seed);
  const ledger = new Ledger();
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const env = { NODE_COMPILE_CACHE: `${stateDir}-code` };
  let store = await StoreProcess.start(stateDir, { env });
  const result = { struck: 0, starting: 0 };
  let power: Power | undefined;
  let round = 0;
  try {
    const sidecar = await prepare(store);
    for (; round < rounds && performance.now() < untilMs; round += 1) {
      await store.stop();
      const at = 1 + random.below(fault === 'eio' ? SYNCS : random.pick([OPERATIONS, OPERATIONS, STARTING_OPERATIONS]));
      power = {
        dir: stateDir,
        seed: random.below(1e9),
        ...(fault === 'eio' ? { eioAt: at } : { failAt: at, keep: random.pick([0, 0, 50, 90]) }),
        ...(fault === 'lie' && { lie: true, keep: 0 }),
      };
      const doomed = await StoreProcess.start(stateDir, { env: { ...env, ...powerEnv(power) } }).catch(
        (error: unknown) => {
          if (!(error instanceof StoreFailed)) throw error;
          return undefined;
        },
      );
      if (doomed === undefined) {
        result.struck += 1;
        result.starting += 1;
      } else {
        const exit = doomed.child.exitCode ?? doomed.child.signalCode ?? once(doomed.child, 'exit');
        const upkeep = UPKEEP[round % UPKEEP.length]!;
        const working = work({ store: doomed, sidecar, ledger, random, upkeep, mayFail: fault === 'eio' });
        working.catch(() => {});
        const late = new AbortController();
        await Promise.race([exit, working, delay(WORK_LIMIT_MS, undefined, { signal: late.signal }).catch(() => {})]);
        late.abort();
        if (doomed.child.exitCode !== null || doomed.child.signalCode !== null) result.struck += 1;
        await doomed.kill();
        await working;
      }
      store = await StoreProcess.start(stateDir, { env });
      await check(store, sidecar, ledger);
      told?.(round + 1);
    }
    return { rounds: round, ...result, counts: ledger.counts };
  } catch (error) {
    throw new Error(`seed ${seed}, round ${round}, ${JSON.stringify(power)}: ${String(error)}`, { cause: error });
  } finally {
    await store.stop();
  }
}
