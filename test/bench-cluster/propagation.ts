import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { nowMs } from '../bench-store/messages.ts';
import { percentiles } from '../bench-store/percentiles.ts';
import { jsonLines } from '../cluster/jsonLines.ts';
import { type Installed, NAMESPACE, until } from './installed.ts';
import { ms, type Note } from './rows.ts';

const AIM_MS = 1_000;
const NAME = 'asking';
/** Between two changes: the least, and what chance adds, so that they do not keep time with anything. */
const PAUSE_MS = { least: 400, more: 400 };
/** Asks some 60 times a second, and says when the key that the upstream saw is another one, and when there was none. */
const AGENT = `
  let last;
  let count = 0;
  setInterval(() => console.log(JSON.stringify({ count })), 1000);
  for (;;) {
    const sentMs = performance.timeOrigin + performance.now();
    let status = 0;
    let key;
    try {
      const answer = await fetch(process.env.TARGET);
      status = answer.status;
      ({ key } = await answer.json());
    } catch (error) {
      key = String(error.cause ?? error);
    }
    count += 1;
    if (key !== last || status !== 200) console.log(JSON.stringify({ sentMs, status, key }));
    last = key;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }`;

interface Said {
  sentMs?: number;
  status?: number;
  key?: string;
  count?: number;
}

/** From the request that changes a Secret to the first request of an agent, by when it was sent, that carries the new value. */
export async function propagation(installed: Installed, changes: number, note: Note): Promise<void> {
  const command = ['/usr/local/bin/node', '--input-type=module', '--eval', AGENT];
  await installed.client.create(
    `/api/v1/namespaces/${NAMESPACE}/pods`,
    installed.pod(NAME, command, { labelled: true }),
  );
  const said = async () => jsonLines<Said>(await installed.logs(NAME));
  await installed.kubectl('-n', NAMESPACE, 'wait', `pod/${NAME}`, '--for=condition=Ready', '--timeout=60s');
  await until('the agent has an answer', async () => (await said()).some(({ status }) => status === 200));
  const made: { value: string; atMs: number }[] = [];
  for (let i = 0; i < changes; i += 1) {
    const value = `bench-${randomBytes(12).toString('hex')}`;
    made.push({ value, atMs: nowMs() });
    await installed.setSecret(value);
    await delay(PAUSE_MS.least + Math.random() * PAUSE_MS.more);
  }
  await delay(2_000);
  const lines = await said();
  const latencies: number[] = [];
  for (const { atMs, value } of made) {
    const key = createHash('sha256').update(`Bearer ${value}`).digest('hex').slice(0, 16);
    const first = lines.find((line) => line.key === key);
    if (first !== undefined) latencies.push(first.sentMs! - atMs);
  }
  await installed.client.delete(`/api/v1/namespaces/${NAMESPACE}/pods/${NAME}`, { gracePeriodSeconds: 0 });
  const never = made.length - latencies.length;
  const { max, p50, p99 } = percentiles(latencies) ?? {
    p50: Number.NaN,
    p99: Number.POSITIVE_INFINITY,
    max: Number.NaN,
  };
  const lost = never === 0 ? '' : `, ${never} never`;
  note(
    'propagation',
    `p50 ${ms(p50)}, p99 ${ms(p99)}, most ${ms(max)} of ${made.length}${lost}`,
    { p50, p99, max, changes: made.length, never },
    p99 < AIM_MS && never === 0,
  );
  const failed = lines.filter(({ sentMs, status }) => sentMs !== undefined && status !== 200).length;
  const requests = Math.max(0, ...lines.map(({ count }) => count ?? 0));
  note('propagationFailed', `${failed} of ${requests}`, { failed, requests }, failed === 0);
}
