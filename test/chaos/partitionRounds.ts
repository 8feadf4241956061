import { equal } from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { admin } from '../store/storeClient.ts';
import { StoreProcess } from '../store/storeProcess.ts';
import { check } from './invariants.ts';
import { Ledger } from './ledger.ts';
import { Random } from './random.ts';
import { prepare, UPKEEP, work } from './workload.ts';

const WORK_LIMIT_MS = 400;
const OUTAGE_LIMIT_MS = 1_200;
const BACK_LIMIT_MS = 15_000;

/** The way to a database server, which stalls or breaks. */
class Line {
  readonly port: number;
  readonly #server;
  readonly #pairs = new Set<[Socket, Socket]>();
  #down = false;

  private constructor(server: ReturnType<typeof createServer>, to: number) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (client) => {
      const upstream = connect(to, '127.0.0.1');
      const pair: [Socket, Socket] = [client, upstream];
      this.#pairs.add(pair);
      for (const [from, into] of [pair, [upstream, client] as const]) {
        from.pipe(into);
        from
          .on('error', () => {})
          .on('close', () => {
            this.#pairs.delete(pair);
            into.destroy();
          });
      }
      if (this.#down) client.destroy();
    });
  }

  static async to(port: number): Promise<Line> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Line(server, port);
  }

  /** Bytes wait on their way, in both directions. */
  stall(): void {
    for (const [client, upstream] of this.#pairs) {
      client.unpipe(upstream).pause();
      upstream.unpipe(client).pause();
    }
  }

  cut(): void {
    this.#down = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  mend(): void {
    this.#down = false;
    for (const [client, upstream] of this.#pairs) {
      client.pipe(upstream);
      upstream.pipe(client);
    }
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}

/** Two replicas, of which one loses its database, or has it slow down, in the middle of everything that it writes. */
export async function partitionRounds(options: {
  stateDir: string;
  databaseUrl: string;
  port: number;
  seed: number;
  rounds: number;
  untilMs?: number;
  env?: Record<string, string>;
  told?: (round: number) => void;
}): Promise<{ rounds: number; counts: Ledger['counts'] }> {
  const { databaseUrl, env = {}, port, rounds, seed, stateDir, told, untilMs = Number.POSITIVE_INFINITY } = options;
  const random = new Random(seed);
  const ledger = new Ledger();
  const line = await Line.to(port);
  const stores: StoreProcess[] = [];
  let round = 0;
  try {
    const first = await StoreProcess.start(`${stateDir}/one`, {
      databaseUrl: databaseUrl.replace(`:${port}/`, `:${line.port}/`),
      env,
    });
    stores.push(first);
    // Replicas share their KEK.
    const second = await StoreProcess.start(`${stateDir}/two`, {
      databaseUrl,
      env,
      key: false,
      kek: { file: `${stateDir}/one/kek` },
    });
    stores.push(second);
    const sidecar = await prepare(first);
    for (; round < rounds && performance.now() < untilMs; round += 1) {
      // A rotation of the KEK goes on by the replica that is cut off, or by nobody: kekRotation.test.ts has that.
      const upkeep = UPKEEP[1 + (round % (UPKEEP.length - 1))]!;
      const stop = new AbortController();
      const working = work({ store: first, sidecar, ledger, random, upkeep, mayFail: true, signal: stop.signal });
      working.catch(() => {});
      await delay(random.next() * WORK_LIMIT_MS);
      if (random.below(2) === 0) line.cut();
      else line.stall();
      await delay(random.next() * OUTAGE_LIMIT_MS);
      line.mend();
      await delay(random.next() * WORK_LIMIT_MS);
      stop.abort();
      await working;
      await back(first);
      // What one has acknowledged, the other knows, and the other way round.
      await check(second, sidecar, ledger);
      await check(first, sidecar, ledger);
      told?.(round + 1);
    }
    return { rounds: round, counts: ledger.counts };
  } catch (error) {
    throw new Error(`seed ${seed}, round ${round}: ${String(error)}`, { cause: error });
  } finally {
    line.mend();
    for (const store of stores) await store.stop();
    line.close();
  }
}

/** Waits until the store has its database again. */
async function back(store: StoreProcess): Promise<void> {
  const untilMs = performance.now() + BACK_LIMIT_MS;
  for (;;) {
    const { status } = await admin(store, 'GET', '/v1/admin/audit/head');
    if (status === 200) return;
    equal(performance.now() < untilMs, true, 'the store does not find back to its database');
    await delay(50);
  }
}
