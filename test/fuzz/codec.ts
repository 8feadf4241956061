import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type Input, mutant, Random } from '../conformance/http1/mutator.ts';
import { checkProperties } from '../conformance/http1/properties.ts';

/** One message takes a millisecond; a codec that loops takes for ever. */
const STUCK_AFTER_MS = 10_000;
const LOOK_EVERY_MS = 250;
const PROGRESS_EVERY_MS = 10_000;

interface Job {
  fuzzCodec: true;
  seconds: number;
  seed: number;
  /** One 32-bit number: how many runs were begun. */
  runs: SharedArrayBuffer;
}

/**
 * Mutates messages of the codec's corpus for `seconds`, and checks that any bytes are read or refused, the same however
 * they are cut, and that what is rebuilt is rebuilt to itself.
 *
 * @throws Error with the shrunk input and how to repeat it
 */
export async function fuzzCodec(seconds: number, seed: number): Promise<void> {
  const runs = new Int32Array(new SharedArrayBuffer(4));
  const job: Job = { fuzzCodec: true, seconds, seed, runs: runs.buffer as SharedArrayBuffer };
  // In a thread of its own, so that this one can tell when it loops.
  const worker = new Worker(new URL(import.meta.url), { workerData: job });
  let failure: Error | undefined;
  let over = false;
  worker.on('message', (text: string) => {
    failure = new Error(text);
  });
  worker.on('error', (error) => {
    failure = error instanceof Error ? error : new Error(String(error));
  });
  worker.on('exit', () => {
    over = true;
  });
  const start = performance.now();
  let [lastRuns, movedAt, printedAt] = [0, start, start];
  while (!over) {
    await sleep(LOOK_EVERY_MS);
    const now = performance.now();
    const count = Atomics.load(runs, 0);
    if (count !== lastRuns) [lastRuns, movedAt] = [count, now];
    if (now - movedAt > STUCK_AFTER_MS) {
      await worker.terminate();
      const input = inputOf(seed, count);
      throw new Error(`codec: run ${count} does not end\n${howToRepeat(input, seed)}`);
    }
    if (now - printedAt > PROGRESS_EVERY_MS || over) {
      printedAt = now;
      const perSecond = Math.round((count * 1000) / (now - start));
      console.log(`codec: ${count} runs, ${perSecond} runs per second, seed ${seed}`);
    }
  }
  if (failure !== undefined) throw failure;
}

function* inputs(seed: number): Generator<{ input: Input; cuts: number[] }> {
  const random = new Random(seed);
  for (;;) {
    const input = mutant(random);
    const cuts = Array.from({ length: 1 + random.below(4) }, () => random.below(input.message.length + 1));
    yield { input, cuts: cuts.sort((a, b) => a - b) };
  }
}

function inputOf(seed: number, run: number): Input {
  let count = 0;
  for (const { input } of inputs(seed)) if (++count === run) return input;
  throw new RangeError('no such run');
}

function fuzz({ seconds, seed, runs }: Job): void {
  const counter = new Int32Array(runs);
  const end = performance.now() + seconds * 1000;
  for (const { input, cuts } of inputs(seed)) {
    if (performance.now() > end) return;
    Atomics.add(counter, 0, 1);
    const fault = faultOf(input, cuts);
    if (fault === undefined) continue;
    const shrunk = shrink(input);
    parentPort!.postMessage(
      `codec: run ${Atomics.load(counter, 0)}: ${fault}\nshrunk, it ${faultOf(shrunk, allCuts(shrunk))}\n${howToRepeat(shrunk, seed)}`,
    );
    return;
  }
}

function faultOf(input: Input, cuts: readonly number[]): string | undefined {
  try {
    checkProperties(input, cuts);
    return undefined;
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
}

/** Byte by byte is always tried; these are for faults that show in larger pieces. */
function allCuts({ message }: Input): number[] {
  return Array.from({ length: Math.floor(message.length / 2) }, (_, n) => 2 * n + 1);
}

/** Leaves out ever smaller parts for as long as some fault remains. */
function shrink(input: Input): Input {
  let { message } = input;
  const fails = (candidate: string): boolean => {
    const shorter = { ...input, message: candidate };
    return faultOf(shorter, allCuts(shorter)) !== undefined || faultOf(shorter, [1]) !== undefined;
  };
  if (!fails(message)) return input;
  for (let size = message.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at + size <= message.length; ) {
      const candidate = message.slice(0, at) + message.slice(at + size);
      if (fails(candidate)) message = candidate;
      else at += size;
    }
  }
  return { ...input, message };
}

function howToRepeat({ message, answers }: Input, seed: number): string {
  const hex = Buffer.from(message, 'latin1').toString('hex');
  return (
    `input: ${JSON.stringify(message)}\n` +
    `this input again: node test/fuzz/codec.ts ${answers ?? 'request'} ${hex}\n` +
    `the whole run again: node test/fuzz/main.ts --target codec --seed ${seed}`
  );
}

if (!isMainThread && (workerData as Partial<Job> | null)?.fuzzCodec === true) {
  fuzz(workerData as Job);
} else if (import.meta.main) {
  const [answers, hex = ''] = process.argv.slice(2);
  const message = Buffer.from(hex, 'hex').toString('latin1');
  const input = { message, answers: answers === 'request' ? undefined : answers };
  checkProperties(input, allCuts(input));
  console.log('codec: nothing is wrong with it');
}
