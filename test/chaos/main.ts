import { parseArgs } from 'node:util';
import { modelHistories } from '../model/histories.ts';
import { SCENARIOS, type Scenario } from './scenarios.ts';

/** How often each strikes unless a time is given. */
const ROUNDS: Readonly<Record<string, number>> = {
  'kill -9, SQLite': 260,
  'kill -9, PostgreSQL': 260,
  'power loss, SQLite': 60,
  'EIO from fsync, SQLite': 40,
  'partition, PostgreSQL': 20,
  'histories, SQLite': 2_000,
  'histories, PostgreSQL': 300,
};
const PROGRESS_MS = 10_000;
const HELP = `make chaos, or with a time and a seed: make chaos CHAOS="--seconds 3600 --seed 7 --only kill"`;

/** `make chaos`: every scenario one after the other, from a seed that it prints; ends with 1 at the first promise that is broken. */
const { values } = parseArgs({
  options: { seconds: { type: 'string' }, seed: { type: 'string' }, only: { type: 'string', default: '' } },
});
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
const all: Readonly<Record<string, Scenario>> = {
  ...SCENARIOS,
  'histories, SQLite': (run) => modelHistories({ ...run, engine: 'sqlite' }),
  'histories, PostgreSQL': (run) => modelHistories({ ...run, engine: 'postgres' }),
};
const chosen = Object.entries(all).filter(([name]) => name.includes(values.only));
if (chosen.length === 0 || !Number.isSafeInteger(seed) || (seconds !== undefined && !(seconds > 0))) {
  console.error(HELP);
  process.exit(2);
}
console.log(
  `seed ${seed}; the same again: make chaos CHAOS="--seed ${seed}${seconds === undefined ? '' : ` --seconds ${seconds}`}"`,
);
for (const [name, scenario] of chosen) {
  const beganMs = performance.now();
  const rounds = seconds === undefined ? ROUNDS[name]! : Number.POSITIVE_INFINITY;
  const untilMs = seconds === undefined ? Number.POSITIVE_INFINITY : beganMs + (seconds * 1000) / chosen.length;
  try {
    const { counts, ...result } = await scenario({ seed, rounds, untilMs, told: progress(name, rounds) });
    const took = ((performance.now() - beganMs) / 1000).toFixed(0);
    const told = Object.entries(counts).map(([what, count]) => `${what} ${count}`);
    console.log(
      `${name}: ${Object.entries(result)
        .map(([what, count]) => `${what} ${count}`)
        .join(', ')} in ${took} s, no promise broken`,
    );
    console.log(`  done: ${told.join(', ')}`);
  } catch (error) {
    console.error(`${name}: ${String(error)}`);
    console.error(`again: make chaos CHAOS="--seed ${seed} --only '${name}'"`);
    process.exit(1);
  }
}

/** Says every few seconds how far a scenario is. */
function progress(name: string, rounds: number): (round: number) => void {
  let saidMs = performance.now();
  return (round) => {
    if (performance.now() - saidMs < PROGRESS_MS) return;
    saidMs = performance.now();
    console.error(`  ${name}: ${round}${Number.isFinite(rounds) ? ` of ${rounds}` : ''}`);
  };
}
