import { setTimeout as delay } from 'node:timers/promises';
import { percentiles } from '../bench-store/percentiles.ts';
import { bucketAt, type Histogram, histogramOf, since } from './histogram.ts';
import { type Installed, NAMESPACE } from './installed.ts';
import { ms, type Note, type Row } from './rows.ts';

const PER_SECOND = 20;
const AIM_MS = 50;
const WARM_UP = 20;
const CALLS = 'apiserver_admission_webhook_admission_duration_seconds';
const REVIEWS = 'sidekey_webhook_review_seconds';

/** 20 labelled pods a second, and between each two one without label, all of them dry runs that come when they are due. */
export async function admission(installed: Installed, seconds: number, note: Note): Promise<void> {
  for (let i = 0; i < WARM_UP; i += 1) for (const labelled of [true, false]) await create(installed, labelled);
  const before = await counted(installed);
  const plain: number[] = [];
  const withLabel: number[] = [];
  const failures: string[] = [];
  const pending: Promise<void>[] = [];
  const beganMs = performance.now();
  for (let i = 0; i < seconds * PER_SECOND * 2; i += 1) {
    const dueMs = beganMs + (i * 1_000) / PER_SECOND / 2;
    await delay(Math.max(0, dueMs - performance.now()));
    const labelled = i % 2 === 0;
    // What is late through our fault counts as late.
    pending.push(
      create(installed, labelled).then(
        () => void (labelled ? withLabel : plain).push(performance.now() - dueMs),
        (error: Error) => void failures.push(error.message),
      ),
    );
  }
  await Promise.all(pending);
  const after = await counted(installed);
  if (failures.length > 0) throw new Error(`${failures.length} creations failed: ${failures[0]}`);
  const tell = (row: Row, values: readonly number[], aimMs?: number) => {
    const { count, max, p50, p99 } = percentiles(values)!;
    const met = aimMs === undefined ? undefined : p99 <= aimMs;
    note(row, `p50 ${ms(p50)}, p99 ${ms(p99)}, most ${ms(max)} of ${count}`, { p50, p99, max, count }, met);
  };
  tell('createPlain', plain);
  tell('createLabelled', withLabel, AIM_MS);
  for (const [row, which] of [
    ['createCall', 'calls'],
    ['createReview', 'reviews'],
  ] as const) {
    const histogram = since(before[which], after[which]);
    const [p50, p99] = [bucketAt(histogram, 0.5), bucketAt(histogram, 0.99)];
    if (p50 === undefined || p99 === undefined) continue;
    const count = Math.max(...histogram.values());
    const numbers = { p50AtMostMs: p50.atMostMs, p99AtMostMs: p99.atMostMs, count };
    note(row, `p50 in ${p50.text}, p99 in ${p99.text} of ${count}`, numbers);
  }
}

async function create(installed: Installed, labelled: boolean): Promise<void> {
  const pod = installed.pod(labelled ? 'tried-labelled' : 'tried-plain', ['/bin/true'], { labelled });
  const { spec } = await installed.client.create<{ spec: { initContainers?: object[] } }>(
    `/api/v1/namespaces/${NAMESPACE}/pods`,
    pod,
    { dryRun: 'All' },
  );
  if ((spec.initContainers !== undefined) !== labelled)
    throw new Error(labelled ? 'a labelled pod got no sidecar' : 'a pod without label got a sidecar');
}

async function counted(installed: Installed): Promise<{ calls: Histogram; reviews: Histogram }> {
  const server = await installed.kubectl('get', '--raw', '/metrics');
  return {
    calls: histogramOf(server, CALLS, ['name="pods.sidekey.dev"']),
    reviews: histogramOf(await installed.metrics('webhook'), REVIEWS),
  };
}
