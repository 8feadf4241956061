import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { build } from 'rolldown';
import { NODE_ARGS } from '../../lib/nodeArgs.ts';
import { nowMs } from '../bench-store/messages.ts';
import { percentiles } from '../bench-store/percentiles.ts';
import { KubeWorld, type OperatorReplica } from '../operator/kubeWorld.ts';
import { SESSION, StoreClient } from '../store/storeClient.ts';
import { bucketAt, histogramOf, since } from './histogram.ts';
import { until } from './installed.ts';
import { ms, type Note, round } from './rows.ts';

const PER_NAMESPACE = 100;
const AT_ONCE = 24;
const LISTENERS = 10;
const CHANGE_AIM_MS = 1_000;
const MEMORY_AIM_MB = 300;
const CHANGE_PAUSE_MS = 100;
const API = '/apis/sidekey.dev/v1alpha1';
const ROUNDS = 'sidekey_operator_round_seconds';
const BUNDLE = join(import.meta.dirname, '../../.cache/bench-cluster/operator.mjs');

export interface ScaleEffort {
  /** Credentials; as many Secrets, Integrations and pods. */
  objects: number;
  changes: number;
  /** How long the operator is left alone before its memory is read. */
  settleSeconds: number;
}

/** A real API server without a node, a store and one operator, with so many objects. */
export async function scale(effort: ScaleEffort, note: Note, say: (line: string) => void): Promise<void> {
  const world = await KubeWorld.start();
  try {
    say(`writing ${effort.objects} each of Secrets, Credentials, Integrations and pods …`);
    const namespaces = await fill(world, effort.objects);
    const beganMs = performance.now();
    const operator = await world.operator('bench', [...NODE_ARGS.operator, await bundledOperator()]);
    await until('everything is Ready', () => allReady(operator, effort.objects), 600_000);
    note('scaleStart', `${round((performance.now() - beganMs) / 1_000)} s, ${effort.objects} of each`, {
      seconds: (performance.now() - beganMs) / 1_000,
      objects: effort.objects,
    });
    const afterStartMb = operator.residentMegabytes;
    const roundsBefore = histogramOf((await operator.metrics()).text, ROUNDS);
    await changes(world, namespaces.slice(0, LISTENERS), effort.changes, note);
    const rounds = since(roundsBefore, histogramOf((await operator.metrics()).text, ROUNDS));
    const [p50, p99] = [bucketAt(rounds, 0.5), bucketAt(rounds, 0.99)];
    if (p50 !== undefined && p99 !== undefined)
      note('scaleRound', `p50 in ${p50.text}, p99 in ${p99.text} of ${Math.max(...rounds.values())}`, {
        p50AtMostMs: p50.atMostMs,
        p99AtMostMs: p99.atMostMs,
      });
    const steady: number[] = [];
    for (let second = 0; second < effort.settleSeconds; second += 1) {
      await delay(1_000);
      if (second >= effort.settleSeconds / 2) steady.push(operator.residentMegabytes);
    }
    const steadyMb = Math.max(...steady);
    const peakMb = peakMegabytes(operator.child.pid!);
    note(
      'scaleMemory',
      `${round(steadyMb)} MB (${round(afterStartMb)} after the start, peak ${round(peakMb)})`,
      { steadyMb, afterStartMb, peakMb },
      steadyMb <= MEMORY_AIM_MB,
    );
  } finally {
    await world.stop();
  }
}

/** As the image runs it: one file. */
async function bundledOperator(): Promise<string> {
  await build({
    input: join(import.meta.dirname, '../operator/replicaChild.ts'),
    platform: 'node',
    logLevel: 'silent',
    output: { file: BUNDLE, format: 'esm', codeSplitting: false },
  });
  return BUNDLE;
}

/** Returns the namespaces. */
async function fill(world: KubeWorld, count: number): Promise<string[]> {
  const namespaces = Array.from({ length: Math.ceil(count / PER_NAMESPACE) }, (_, i) => `team-${i}`);
  for (const namespace of namespaces) {
    await world.namespace(namespace);
    // No controller is there to make it, and without it there are no pods.
    await world.client.create(`/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name: 'default' } });
  }
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < count; i = next++) {
      const namespace = namespaces[Math.floor(i / PER_NAMESPACE)]!;
      const name = `key-${i % PER_NAMESPACE}`;
      const metadata = { name, namespace };
      const apiVersion = 'sidekey.dev/v1alpha1';
      const hosts = [`api-${i}.example.com`];
      await world.client.create(`/api/v1/namespaces/${namespace}/secrets`, {
        metadata,
        data: { key: base64(`value-of-key-${i}`) },
      });
      await world.client.create(`${API}/namespaces/${namespace}/credentials`, {
        apiVersion,
        kind: 'Credential',
        metadata,
        spec: { source: { secret: { name, key: 'key' } }, hosts },
      });
      await world.client.create(`${API}/namespaces/${namespace}/integrations`, {
        apiVersion,
        kind: 'Integration',
        metadata,
        spec: { credentialRef: { name }, hosts, inject: [{ bearer: {} }], subjects: { tags: ['llm'] } },
      });
      await world.pod(namespace, `agent-${i % PER_NAMESPACE}`, { 'tag.sidekey.dev/llm': 'true' });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return namespaces;
}

async function allReady(operator: OperatorReplica, count: number): Promise<boolean> {
  if (operator.child.exitCode !== null) throw new Error(`the operator ended: ${operator.log.slice(-2_000)}`);
  const { text } = await operator.metrics().catch(() => ({ text: '' }));
  const value = (line: string) => Number(new RegExp(`^${line} (\\S+)`, 'm').exec(text)?.[1] ?? 0);
  const ready = (kind: string) => value(`sidekey_operator_objects\\{kind="${kind}",ready="True"\\}`);
  const waiting = (queue: string) => value(`sidekey_operator_queue_depth\\{queue="${queue}"\\}`);
  return (
    ready('Credential') === count &&
    ready('Integration') === count &&
    value('sidekey_operator_agent_pods') === count &&
    waiting('statuses') === 0 &&
    waiting('finalizers') === 0
  );
}

/** Sidecars of some namespaces listen while Secrets of theirs change: one after the other, and then all of one namespace. */
async function changes(world: KubeWorld, namespaces: readonly string[], count: number, note: Note): Promise<void> {
  /** Credential → when its next version was told. */
  const waiting = new Map<string, (atMs: number) => void>();
  const clients: StoreClient[] = [];
  for (const namespace of namespaces) {
    const client = await StoreClient.join(world.store, { kind: 'session', session: { ...SESSION, namespace } });
    clients.push(client);
    listen(client, (credential) => waiting.get(credential)?.(nowMs()));
  }
  const change = async (namespace: string, name: string) => {
    const told = new Promise<number>((resolve) => waiting.set(`${namespace}/${name}`, resolve));
    const value = `changed-${Math.random()}-${nowMs()}`;
    const fromMs = nowMs();
    await world.client.patch(
      `/api/v1/namespaces/${namespace}/secrets/${name}`,
      { data: { key: base64(value) } },
      'merge',
    );
    const atMs = await Promise.race([told, delay(20_000, Number.POSITIVE_INFINITY, { ref: false })]);
    return atMs - fromMs;
  };
  const latencies: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const namespace = namespaces[i % namespaces.length]!;
    latencies.push(await change(namespace, `key-${Math.floor(i / namespaces.length) % PER_NAMESPACE}`));
    await delay(CHANGE_PAUSE_MS * 2 * Math.random());
  }
  const tell = (values: readonly number[]) => {
    const told = values.filter(Number.isFinite);
    const never = values.length - told.length;
    const { max, p50, p99 } = percentiles(told) ?? { p50: Number.NaN, p99: Number.POSITIVE_INFINITY, max: Number.NaN };
    const text = `p50 ${ms(p50)}, p99 ${ms(p99)}, most ${ms(max)} of ${values.length}${never > 0 ? `, ${never} never` : ''}`;
    return { text, numbers: { p50, p99, max, never, changes: values.length }, met: p99 < CHANGE_AIM_MS && never === 0 };
  };
  const single = tell(latencies);
  note('scaleChange', single.text, single.numbers, single.met);
  const burst = tell(
    await Promise.all(Array.from({ length: PER_NAMESPACE }, (_, i) => change(namespaces[0]!, `key-${i}`))),
  );
  note('scaleBurst', burst.text, burst.numbers);
  for (const client of clients) client.close();
}

function listen(client: StoreClient, onVersion: (credential: string) => void): void {
  const follow = async () => {
    const events = await client.events();
    for (let event = await events.next(); event !== undefined; event = await events.next())
      if (event.type === 'version') onVersion(event.credential);
  };
  // It ends with the client.
  follow().catch(() => {});
}

function peakMegabytes(pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]) / 1_024;
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
