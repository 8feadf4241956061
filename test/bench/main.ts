/**
 * Sidekey beside nginx, Envoy, haproxy and no proxy, in one run: `make bench`, or
 * `node test/bench/main.ts [--quick] [--rows keepAlive,intercept,…] [-o json]`.
 *
 * Contenders have one core to themselves; load generator and upstream have the other. Only loopback is used.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { judge } from './aims.ts';
import { Bench } from './bench.ts';
import { killChildren, pinSelf } from './child.ts';
import { CONTENDERS } from './contenders/contenders.ts';
import { direct } from './contenders/direct.ts';
import { buildLoad } from './load.ts';
import { firstAnswer } from './measure.ts';
import { Others, QUIET_SHARE } from './others.ts';
import { report } from './report.ts';
import { FULL, QUICK, selectRows } from './rows.ts';
import { ensureTools, type ToolName } from './tools.ts';
import { startUpstream } from './upstream.ts';

const RESULTS = join(import.meta.dirname, 'results');
const USAGE =
  'usage: node test/bench/main.ts [--quick] [--rows keepAlive,intercept,…] [--only nginx,Sidekey,…] [-o json]';

/** Needed whoever takes part. */
const GROUND: readonly ToolName[] = ['taskset', 'cc', 'openssl', 'nginx'];

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rows: { type: 'string', default: '' },
      only: { type: 'string', default: '' },
      output: { type: 'string', short: 'o', default: 'text' },
    },
  });
  const { rows, paths } = selectRows(values.rows);
  if (process.platform !== 'linux') throw new Error('the bench reads /proc and uses epoll: it runs on Linux only');
  process.env.PATH = `${process.env.PATH}:/usr/sbin`;

  const missing = await ensureTools([...GROUND, ...CONTENDERS.flatMap(({ tool }) => tool ?? [])], progress);
  const blocking = GROUND.flatMap((name) => missing.get(name) ?? []);
  if (blocking.length > 0) throw new Error(blocking.join('\n'));
  progress('building the load generator');
  buildLoad();

  const wanted = CONTENDERS.filter(
    ({ name }) => values.only === '' || name === 'direct' || values.only.split(',').includes(name),
  );
  const absent = new Map(
    wanted.flatMap(({ name, tool }) => (tool && missing.has(tool) ? [[name, missing.get(tool)!]] : [])),
  );
  const contenders = wanted.filter(({ name }) => !absent.has(name));

  const dir = mkdtempSync(join(tmpdir(), 'sidekey-bench-'));
  const cleanUp = () => {
    killChildren();
    rmSync(dir, { recursive: true, force: true });
  };
  process.once('exit', cleanUp);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

  progress('starting the upstream');
  pinSelf();
  const upstream = await startUpstream(dir);
  try {
    await firstAnswer(await direct.start(upstream), 'baseURL', upstream);
  } catch (error) {
    throw new Error(`the upstream does not answer: ${upstream.child.said}`, { cause: error });
  }
  const effort = values.quick ? QUICK : FULL;
  const others = new Others();
  const bench = new Bench({ contenders, paths, rows, effort, upstream, say: progress });
  await bench.run();
  await upstream.child.stop();
  const othersShare = others.share();
  progress('');

  const { cells } = bench.results;
  const verdicts = judge(cells);
  const machine = {
    cores: cpus().length,
    cpu: cpus()[0]?.model ?? '',
    kernel: release(),
    node: process.version,
  };
  const json = {
    at: new Date().toISOString(),
    machine,
    effort,
    othersShare,
    absent: [...absent],
    cut: bench.cut,
    cells,
    verdicts,
  };
  const text = `${JSON.stringify(json, null, 1)}\n`;
  mkdirSync(RESULTS, { recursive: true });
  const file = join(RESULTS, `${json.at.replaceAll(':', '-')}.json`);
  writeFileSync(file, text);
  if (values.output === 'json') process.stdout.write(text);
  else {
    const names = wanted.map(({ name }) => name);
    console.log(report({ contenders: names, paths, rows, cells, verdicts, cut: bench.cut, absent }));
    const share = `other processes took ${Math.round(othersShare * 100)} % of a core meanwhile`;
    console.log(othersShare > QUIET_SHARE ? `NOT QUIET: ${share}, so do not conclude from these numbers` : share);
    console.log(`${machine.cores} cores, ${machine.cpu}, Linux ${machine.kernel}; ${file}`);
  }
  return cells.some(({ failures }) => failures.length > 0) ? 1 : 0;
}

/** One line on stderr that is written over, or lines where that is no terminal. */
function progress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
  else if (line !== '') process.stderr.write(`${line}\n`);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    progress('');
    console.error(error instanceof Error ? error.message : error);
    if ((error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')) console.error(USAGE);
    process.exit(2);
  },
);
