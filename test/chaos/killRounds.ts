import { setTimeout as delay } from 'node:timers/promises';
import type { KekStatus } from '../../api/kek.ts';
import { admin } from '../store/storeClient.ts';
import { StoreProcess } from '../store/storeProcess.ts';
import { check } from './invariants.ts';
import { Ledger } from './ledger.ts';
import { Random } from './random.ts';
import { currentKek, prepare, UPKEEP, work } from './workload.ts';

/** Longest that a store works before it is killed; over PostgreSQL each write takes longer. */
const WORK_LIMIT_MS = 150;
const POSTGRES_WORK_LIMIT_MS = 400;
/** In how many of the rounds the database server crashes along. */
const SERVER_ROUNDS = 10;

/** Longest that a work of upkeep is waited for, and how often it is looked at. */
const ACKNOWLEDGED_LIMIT_MS = 5_000;
const LOOK_MS = 5;

export interface KillRoundsOptions {
  stateDir: string;
  seed: number;
  rounds: number;
  /** performance.now() after which no other round begins. */
  untilMs?: number;
  databaseUrl?: string;
  /** Crashes the database server and starts it again. */
  crashServer?: () => Promise<void>;
  env?: Record<string, string>;
  told?: (round: number) => void;
}

/** kill -9 of a store in the middle of all it writes, again and again on one database. */
export async function killRounds(options: KillRoundsOptions): Promise<{ rounds: number; counts: Ledger['counts'] }> {
  const { crashServer, databaseUrl, env, rounds, seed, stateDir, told, untilMs = Number.POSITIVE_INFINITY } = options;
  const random = new Random(seed);
  const ledger = new Ledger();
  const start = () => StoreProcess.start(stateDir, { ...(databaseUrl && { databaseUrl }), ...(env && { env }) });
  let store = await start();
  try {
    const sidecar = await prepare(store);
    ledger.kekInForce(currentKek((await admin(store, 'GET', '/v1/admin/kek')).json<KekStatus>()));
    let round = 0;
    for (; round < rounds && performance.now() < untilMs; round += 1) {
      const upkeep = UPKEEP[round % UPKEEP.length]!;
      const withServer = crashServer !== undefined && round % SERVER_ROUNDS === SERVER_ROUNDS - 1;
      const working = work({ store, sidecar, ledger, random, upkeep, mayFail: withServer });
      working.catch(() => {});
      const before = ledger.counts[upkeep] ?? 0;
      await delay(random.next() * (databaseUrl === undefined ? WORK_LIMIT_MS : POSTGRES_WORK_LIMIT_MS));
      // In every other round of each work of upkeep the kill comes after one of it was acknowledged, however long that takes.
      if (Math.floor(round / UPKEEP.length) % 2 === 0) await acknowledged(ledger, upkeep, before);
      if (withServer) await crashServer();
      await store.kill();
      await working;
      store = await start();
      await check(store, sidecar, ledger);
      told?.(round + 1);
    }
    return { rounds: round, counts: ledger.counts };
  } catch (error) {
    throw new Error(`seed ${seed}: ${String(error)}; the store said: ${store.log.slice(-3).join('')}`, {
      cause: error,
    });
  } finally {
    await store.stop();
  }
}

/** Waits until one more `upkeep` was acknowledged. */
async function acknowledged(ledger: Ledger, upkeep: string, before: number): Promise<void> {
  const untilMs = performance.now() + ACKNOWLEDGED_LIMIT_MS;
  while ((ledger.counts[upkeep] ?? 0) === before && performance.now() < untilMs) await delay(LOOK_MS);
}
