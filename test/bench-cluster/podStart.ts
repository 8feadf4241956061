import { setTimeout as delay } from 'node:timers/promises';
import { nowMs } from '../bench-store/messages.ts';
import { percentiles } from '../bench-store/percentiles.ts';
import { jsonLines } from '../cluster/jsonLines.ts';
import { type Installed, NAMESPACE, until } from './installed.ts';
import { ms, type Note, type Row } from './rows.ts';

const PODS = `/api/v1/namespaces/${NAMESPACE}/pods`;
/** Says when its process began (High Resolution Time, timeOrigin), and then when it had its first answer. */
const AGENT = `
  console.log(JSON.stringify({ startedMs: performance.timeOrigin }));
  if (process.argv[1] === 'asking') {
    const { status } = await fetch(process.env.TARGET);
    console.log(JSON.stringify({ answeredMs: Date.now(), status }));
  }`;

const TEARDOWN_MS = 500;
/** The kubelet looks at its containers once a second. */
const KUBELET_MS = 1_000;
const GOLDEN = 0.618;

interface PodStatus {
  status: { containerStatuses?: { name: string; state: { terminated?: { exitCode: number } } }[] };
}

interface Started {
  /** Since the request that created the pod was sent. */
  startedMs: number;
  answeredMs?: number;
}

/** Pods with and without label in turn, one at a time, so that whatever else happens on the machine happens to both. */
export async function podStarts(installed: Installed, count: number, note: Note): Promise<void> {
  const plain: Started[] = [];
  const labelled: Started[] = [];
  // The first of each finds caches cold.
  for (let i = -1; i < count; i += 1) {
    // Evenly over that second: a pod that is created once the one before has ended would always meet the same part of it.
    await delay(KUBELET_MS * (((i + 1) * GOLDEN) % 1));
    const one = await startOne(installed, `plain-${i + 1}`, false);
    await delay(KUBELET_MS * (((i + 1) * 2 * GOLDEN) % 1));
    const other = await startOne(installed, `labelled-${i + 1}`, true);
    if (i < 0) continue;
    plain.push(one);
    labelled.push(other);
  }
  const added = labelled.map(({ startedMs }, i) => startedMs - plain[i]!.startedMs);
  const tell = (row: Row, values: readonly number[]) => {
    const { max, p50, p99 } = percentiles(values)!;
    note(row, `p50 ${ms(p50)}, p99 ${ms(p99)} of ${values.length}`, { p50, p99, max, pods: values.length });
  };
  tell(
    'startPlain',
    plain.map(({ startedMs }) => startedMs),
  );
  tell(
    'startLabelled',
    labelled.map(({ startedMs }) => startedMs),
  );
  tell('startAdded', added);
  tell(
    'startAnswered',
    labelled.map(({ answeredMs }) => answeredMs!),
  );
}

async function startOne(installed: Installed, name: string, isLabelled: boolean): Promise<Started> {
  const { client } = installed;
  const command = ['/usr/local/bin/node', '--input-type=module', '--eval', AGENT, isLabelled ? 'asking' : 'silent'];
  const sentMs = nowMs();
  await client.create(PODS, installed.pod(name, command, { labelled: isLabelled }));
  await until(`the agent of ${name} has run to its end`, async () => {
    const { status } = await client.get<PodStatus>(`${PODS}/${name}`);
    const ended = status.containerStatuses?.find((one) => one.name === 'agent')?.state.terminated;
    if (ended !== undefined && ended.exitCode !== 0)
      throw new Error(`${name} ended with ${ended.exitCode}: ${await installed.logs(name)}`);
    return ended !== undefined;
  });
  const said = Object.assign(
    {},
    ...jsonLines<{ startedMs?: number; answeredMs?: number; status?: number }>(await installed.logs(name)),
  );
  await client.delete(`${PODS}/${name}`, { gracePeriodSeconds: 0 });
  // What is left of it goes before the next one is measured.
  await delay(TEARDOWN_MS);
  if (isLabelled && said.status !== 200) throw new Error(`${name}'s first request was answered ${said.status}`);
  return { startedMs: said.startedMs - sentMs, ...(isLabelled && { answeredMs: said.answeredMs - sentMs }) };
}
