/**
 * Sidekey on a cluster, measured: `make bench-cluster`, or
 * `node test/bench-cluster/main.ts [--quick] [--only scale,start,admission,propagation,rollout] [-o json]`.
 *
 * The cluster is the one that the tests use (test/cluster/cluster.ts); where that is our own, all of it shares one machine.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { KUBERNETES_VERSION } from '../cluster/versions.ts';
import { admission } from './admission.ts';
import { Installed } from './installed.ts';
import { podStarts } from './podStart.ts';
import { propagation } from './propagation.ts';
import { rollout } from './rollout.ts';
import { type Cell, type Note, ROWS, type Row, table } from './rows.ts';
import { scale } from './scale.ts';

const RESULTS = join(import.meta.dirname, 'results');
const USAGE =
  'usage: node test/bench-cluster/main.ts [--quick] [--only scale,start,admission,propagation,rollout] [-o json]';

const FULL = {
  scale: { objects: 5_000, changes: 80, settleSeconds: 20 },
  pods: 30,
  admissionSeconds: 30,
  changes: 100,
  rolloutPods: 200,
};
const QUICK: typeof FULL = {
  scale: { objects: 500, changes: 40, settleSeconds: 6 },
  pods: 5,
  admissionSeconds: 10,
  changes: 20,
  rolloutPods: 20,
};

/** Part → its rows: what begins with its name. */
const PARTS: Readonly<Record<string, string>> = {
  scale: 'scale',
  start: 'start',
  admission: 'create',
  propagation: 'propagation',
  rollout: 'rollout',
};

const cells: Cell[] = [];
const missing = new Map<Row, string>();
const fromMs = performance.now();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: Object.keys(PARTS).join() },
      output: { type: 'string', short: 'o', default: 'text' },
    },
  });
  if (process.platform !== 'linux') throw new Error('the bench reads /proc: it runs on Linux only');
  const only = values.only.split(',');
  const unknown = only.find((part) => PARTS[part] === undefined);
  if (unknown !== undefined) throw new Error(`there is no part ${unknown}\n${USAGE}`);
  const effort = values.quick ? QUICK : FULL;
  const [loadBefore = 0] = loadavg();
  // Alone: on a cluster of our own it would share the machine with all the rest.
  if (only.includes('scale')) await measured('scale', () => scale(effort.scale, note, say));
  const inCluster: Record<string, (installed: Installed) => Promise<void>> = {
    start: (installed) => podStarts(installed, effort.pods, note),
    admission: (installed) => admission(installed, effort.admissionSeconds, note),
    propagation: (installed) => propagation(installed, effort.changes, note),
    rollout: (installed) => rollout(installed, effort.rolloutPods, note),
  };
  const wanted = only.filter((part) => inCluster[part] !== undefined);
  if (wanted.length > 0) await onCluster(wanted, inCluster);
  finish(only, effort, loadBefore, values.output);
  return missing.size > 0 || cells.some(({ met }) => met === false) ? 1 : 0;
}

async function onCluster(
  parts: readonly string[],
  measurements: Readonly<Record<string, (installed: Installed) => Promise<void>>>,
): Promise<void> {
  let installed: Installed;
  try {
    installed = await Installed.start(say);
  } catch (error) {
    for (const part of parts) lacks(part, error);
    return;
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => installed.stop().finally(() => process.exit(2)));
  try {
    for (const part of parts) {
      say(`${part} …`);
      await measured(part, () => measurements[part]!(installed));
    }
    if (missing.size > 0 && process.env.DEBUG) await installed.cluster.collectLogs(join(RESULTS, 'logs'));
  } finally {
    await installed.stop();
  }
}

/** A part that fails leaves its rows missing, and the others are measured all the same. */
async function measured(part: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    lacks(part, error);
  }
}

function lacks(part: string, error: unknown): void {
  const why = error instanceof Error ? error.message : String(error);
  say(`${part} failed: ${why}`);
  for (const row of rowsOf([part]))
    if (!cells.some((cell) => cell.row === row)) missing.set(row, why.split('\n')[0]!.slice(0, 100));
}

function rowsOf(parts: readonly string[]): Row[] {
  return (Object.keys(ROWS) as Row[]).filter((row) => parts.some((part) => row.startsWith(PARTS[part]!)));
}

function finish(parts: readonly string[], effort: typeof FULL, loadBefore: number, output: string): void {
  const machine = { cores: cpus().length, cpu: cpus()[0]?.model ?? '', kernel: release(), node: process.version };
  const at = new Date().toISOString();
  const text = `${JSON.stringify({ at, machine, kubernetes: KUBERNETES_VERSION, effort, loadBefore, missing: [...missing], cells }, null, 1)}\n`;
  mkdirSync(RESULTS, { recursive: true });
  const file = join(RESULTS, `${at.replaceAll(':', '-')}.json`);
  writeFileSync(file, text);
  if (output === 'json') {
    process.stdout.write(text);
    return;
  }
  console.log(table(rowsOf(parts), cells, missing));
  console.log(
    'client, API server, etcd, node, upstream and all parts of Sidekey share this machine; a given cluster or one by kind may be elsewhere',
  );
  console.log(`load before: ${loadBefore.toFixed(1)} (above 0.5 others were at work: do not conclude much)`);
  console.log(
    `${machine.cores} cores, ${machine.cpu}, Linux ${machine.kernel}, ${((performance.now() - fromMs) / 60_000).toFixed(1)} min; ${file}`,
  );
}

const note: Note = (row, text, numbers, met) => {
  say(`${ROWS[row].title.trim()}: ${text}`);
  cells.push({ row, text, numbers, ...(met !== undefined && { met }) });
};

function say(line: string): void {
  process.stderr.write(`${((performance.now() - fromMs) / 1_000).toFixed(0).padStart(4)} s  ${line}\n`);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(2);
  },
);
