/**
 * The store under load, SQLite and PostgreSQL side by side: `make bench-store`, or
 * `node test/bench-store/main.ts [--quick] [--engines SQLite,PostgreSQL] [--sidecars N] [--credentials N] [-o json]`.
 *
 * Sidecars are simulated on the same machine (simulator.ts says what that leaves out); only loopback is used.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { stateFiles } from '../../lib/stateDir.ts';
import { Others, QUIET_SHARE } from '../bench/others.ts';
import { PostgresServer } from '../postgres/server.ts';
import type { StoreProcess } from '../store/storeProcess.ts';
import { BenchStore, bundleStore } from './engine.ts';
import {
  auditAppends,
  leases,
  memory,
  type Note,
  operatorOf,
  pushes,
  reconnect,
  round,
  seed,
  start,
} from './measurements.ts';
import { pgbench } from './pgbench.ts';
import { type Cell, ROWS, type Row, table, titleOf } from './rows.ts';
import { Simulators } from './simulators.ts';

const RESULTS = join(import.meta.dirname, 'results');
const USAGE =
  'usage: node test/bench-store/main.ts [--quick] [--engines SQLite,PostgreSQL] [--sidecars N] [--credentials N] [-o json]';
const LIMIT_MS = 15 * 60_000;
const QUICK_LIMIT_MS = 3 * 60_000;

const FULL = { credentials: 100_000, seconds: 8, sidecars: 10_000 };
const QUICK = { credentials: 10_000, seconds: 3, sidecars: 2_000 };
type Effort = typeof FULL;

const cells: Cell[] = [];
const missing = new Map<string, string>();
/** What has to end with this process, the last one first. */
const open: { stop: () => unknown }[] = [];

async function measure(engine: string, databaseUrl: () => Promise<string | undefined>, effort: Effort): Promise<void> {
  const note: Note = (row, text, numbers, met) => {
    progress(`${engine}: ${titleOf(row, effort.sidecars)}: ${text}`);
    cells.push({ engine, row, text, numbers, ...(met !== undefined && { met }) });
  };
  const within = (what: string) => progress(`${engine}: ${what} …`);

  const filled = new BenchStore(await databaseUrl());
  open.push({ stop: () => filled.remove() });
  within(`writing ${effort.credentials} credentials`);
  const written = await filled.within((store) => seed(store, effort.credentials));
  await start(filled, written, note);

  const bench = new BenchStore(await databaseUrl());
  open.push({ stop: () => bench.remove() });
  within('appending to the audit');
  await auditAppends(bench, effort.seconds, note);

  let store = await bench.process();
  open.push({ stop: () => store.kill() });
  const operator = await operatorOf(store);
  await withSidecars(Math.min(1_000, effort.sidecars), store, note, within, async (simulators, connected) => {
    within('leases');
    await leases(simulators, effort.seconds, note);
    note('connectFew', connected.text, connected.numbers);
    await pushes(simulators, operator, { change: 'changeFew', revoke: 'revokeFew' }, note);
  });
  await withSidecars(effort.sidecars, store, note, within, async (simulators, connected) => {
    note('joins', connected.joins.text, connected.joins.numbers);
    note('connectAll', connected.text, connected.numbers);
    await pushes(simulators, operator, { change: 'changeAll', revoke: 'revokeAll' }, note);
    memory(store, note);
    within('a crash');
    store = await reconnect(bench, store, simulators, note);
  });
  operator.close();
  await store.kill();
}

interface Connected {
  text: string;
  numbers: Record<string, number>;
  joins: { text: string; numbers: Record<string, number> };
}

async function withSidecars(
  count: number,
  store: StoreProcess,
  _note: Note,
  within: (what: string) => void,
  work: (simulators: Simulators, connected: Connected) => Promise<void>,
): Promise<void> {
  const simulators = new Simulators(count);
  open.push({ stop: () => simulators.stop() });
  try {
    const { storeUrl, trustBundlePem, stateDir } = store;
    within(`${count} sidecars join`);
    const joinSeconds = await simulators.join({
      storeUrl,
      trustBundlePem,
      adminSocket: stateFiles(stateDir).adminSocket,
    });
    within(`${count} sidecars connect`);
    const { done, seconds } = await simulators.all({ ask: 'listen' });
    if (done !== count) throw new Error(`only ${done} of ${count} sidecars could connect`);
    const joinsPerSecond = count / joinSeconds;
    await work(simulators, {
      text: `${seconds.toFixed(1)} s`,
      numbers: { seconds, sidecars: count },
      joins: { text: `${round(joinsPerSecond)}/s`, numbers: { perSecond: joinsPerSecond } },
    });
  } finally {
    await simulators.stop();
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      engines: { type: 'string', default: 'SQLite,PostgreSQL' },
      sidecars: { type: 'string' },
      credentials: { type: 'string' },
      output: { type: 'string', short: 'o', default: 'text' },
    },
  });
  if (process.platform !== 'linux') throw new Error('the bench reads /proc: it runs on Linux only');
  const effort = { ...(values.quick ? QUICK : FULL) };
  if (values.sidecars !== undefined) effort.sidecars = Number(values.sidecars);
  if (values.credentials !== undefined) effort.credentials = Number(values.credentials);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => end(new Error(signal)));

  const engines = values.engines.split(',');
  const others = new Others();
  const limit = setTimeout(
    () => {
      for (const key of engines.flatMap((engine) => Object.keys(ROWS).map((row) => `${engine} ${row}`)))
        missing.set(key, missing.get(key) ?? 'missing: the time was up');
      stopAll().finally(() => {
        finish(engines, effort, others.share(), values.output);
        process.exit(1);
      });
    },
    values.quick ? QUICK_LIMIT_MS : LIMIT_MS,
  );
  await bundleStore();
  for (const engine of engines) {
    try {
      if (engine === 'SQLite') await measure(engine, async () => undefined, effort);
      else await postgres(engine, effort);
    } catch (error) {
      const why = `missing: ${error instanceof Error ? error.message.split('\n')[0] : error}`;
      progress(`${engine}: ${why}`);
      for (const row of Object.keys(ROWS)) missing.set(`${engine} ${row}`, why.slice(0, 42));
    }
    await stopAll();
  }
  clearTimeout(limit);
  finish(engines, effort, others.share(), values.output);
  return cells.some(({ met }) => met === false) ? 1 : 0;
}

async function postgres(engine: string, effort: Effort): Promise<void> {
  const server = await PostgresServer.start();
  open.push({ stop: () => server.remove() });
  const note: Note = (row: Row, text, numbers) => {
    progress(`${engine}: ${titleOf(row, effort.sidecars)}: ${text}`);
    cells.push({ engine, row, text, numbers });
  };
  await pgbench(server, effort.seconds / 2, note);
  await measure(engine, () => server.newDatabase(), effort);
}

function finish(engines: readonly string[], effort: Effort, othersShare: number, output: string): void {
  const machine = { cores: cpus().length, cpu: cpus()[0]?.model ?? '', kernel: release(), node: process.version };
  const at = new Date().toISOString();
  const text = `${JSON.stringify({ at, machine, effort, othersShare, missing: [...missing], cells }, null, 1)}\n`;
  mkdirSync(RESULTS, { recursive: true });
  const file = join(RESULTS, `${at.replaceAll(':', '-')}.json`);
  writeFileSync(file, text);
  if (output === 'json') {
    process.stdout.write(text);
    return;
  }
  console.log(table(engines, cells, missing, effort.sidecars));
  console.log(
    'simulated: sessions, certificates, TLS connections and event streams of their own, on the link code of the sidecar; one private key for all, no agents, requests, usage reports or renewals; sidecars, operator and database share the machine with the store',
  );
  const share = `processes that are not of the bench may have taken up to ${Math.round(othersShare * 100)} % of a core meanwhile`;
  console.log(othersShare > QUIET_SHARE ? `NOT QUIET: ${share}, so do not conclude from these numbers` : share);
  console.log(`${machine.cores} cores, ${machine.cpu}, Linux ${machine.kernel}; ${file}`);
}

async function stopAll(): Promise<void> {
  for (const { stop } of open.splice(0).reverse()) await stop();
}

function end(error: Error): void {
  console.error(error.message);
  stopAll().finally(() => process.exit(2));
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.stack : error);
    if ((error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')) console.error(USAGE);
    stopAll().finally(() => process.exit(2));
  },
);
