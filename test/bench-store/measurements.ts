import { readFileSync } from 'node:fs';
import type { Store } from '../../store/core.ts';
import { credentialRecord, integrationRecord } from '../../store/testing/records.ts';
import { json, material, StoreClient } from '../store/storeClient.ts';
import type { StoreProcess } from '../store/storeProcess.ts';
import { type BenchStore, frame } from './engine.ts';
import { NAMESPACES, nowMs, SHARED_CREDENTIAL } from './messages.ts';
import { percentiles } from './percentiles.ts';
import type { Row } from './rows.ts';
import type { Simulators } from './simulators.ts';

export type Note = (row: Row, text: string, numbers: Record<string, number>, met?: boolean) => void;

const PUSH_ROUNDS = 5;
const PUSH_AIM_MS = 1_000;
const RECONNECT_AIM_SECONDS = 60;
const MEMORY_AIM_MB = 1_024;
const SEED_GROUP = 500;
const SEED_LIMIT_MS = 240_000;

/** Credentials with material, as an operator would have told of them, until there are so many or the time is up. Returns how many there are. */
export async function seed(store: Store, count: number): Promise<number> {
  const endMs = performance.now() + SEED_LIMIT_MS;
  let from = 0;
  for (; from < count && performance.now() < endMs; from += SEED_GROUP) {
    const keys = Array.from({ length: Math.min(SEED_GROUP, count - from) }, (_, i) => `seed/c${from + i}`);
    await Promise.all(keys.map((key) => store.objects.applyCredential(key, credentialRecord(), 'bench')));
    await Promise.all(keys.map((key) => store.materials.put(key, frame(`value of ${key}`), 'bench')));
  }
  return Math.min(from, count);
}

export async function auditAppends(bench: BenchStore, seconds: number, note: Note): Promise<void> {
  await bench.within(async (store) => {
    for (const [row, atOnce] of [
      ['auditOne', 1],
      ['auditMany', 64],
    ] as const) {
      const latencies: number[] = [];
      const endMs = performance.now() + seconds * 1000;
      const began = performance.now();
      const worker = async () => {
        while (performance.now() < endMs) {
          const askedMs = performance.now();
          await store.audit.record({
            kind: 'bench.entry',
            of: 'the bench',
            with: 'about as much as a lease has to say',
          });
          latencies.push(performance.now() - askedMs);
        }
      };
      await Promise.all(Array.from({ length: atOnce }, worker));
      const perSecond = latencies.length / ((performance.now() - began) / 1000);
      const { p50, p99 } = percentiles(latencies)!;
      note(row, `${round(perSecond)}/s, p50 ${ms(p50)}, p99 ${ms(p99)}`, { perSecond, p50, p99 });
    }
  });
}

/** Starts a store on what is there, and says how long that took. */
export async function start(bench: BenchStore, credentials: number, note: Note): Promise<void> {
  const began = performance.now();
  const store = await bench.process();
  const seconds = (performance.now() - began) / 1000;
  const rssMb = residentMb(store.child.pid!);
  await store.kill();
  note('start', `${seconds.toFixed(2)} s with ${credentials} credentials, ${round(rssMb)} MB`, {
    seconds,
    credentials,
    rssMb,
  });
}

/** The operator of the bench, with the objects that every simulated sidecar is granted. */
export async function operatorOf(store: StoreProcess): Promise<StoreClient> {
  const operator = await StoreClient.join(store, { kind: 'operator' });
  await tell(operator, `/v1/credentials/${SHARED_CREDENTIAL}`, json(credentialRecord({ consumerNamespaces: ['*'] })));
  await tell(operator, `/v1/credentials/${SHARED_CREDENTIAL}/material`, material({ value: 'first' }));
  for (let i = 0; i < NAMESPACES; i += 1) {
    const record = integrationRecord({ credential: SHARED_CREDENTIAL, subjects: { tags: ['bench'] } });
    await tell(operator, `/v1/integrations/bench-${i}/shared`, json(record));
  }
  return operator;
}

export async function leases(simulators: Simulators, seconds: number, note: Note): Promise<void> {
  const { failures, latenciesMs, seconds: took } = await simulators.all({ ask: 'leases', sidecars: 64, seconds });
  const perSecond = latenciesMs.length / took;
  const { p50, p99 } = percentiles(latenciesMs)!;
  const refused = sum(failures);
  const slowed = failures.TooManyRequests ?? 0;
  note(
    'leases',
    `${round(perSecond)}/s, p50 ${ms(p50)}, p99 ${ms(p99)}`,
    { perSecond, p50, p99, refused, slowed },
    refused === slowed,
  );
}

/** A new version of the credential that all are granted, then its withdrawal; each several times. */
export async function pushes(
  simulators: Simulators,
  operator: StoreClient,
  rows: { change: Row; revoke: Row },
  note: Note,
): Promise<void> {
  const path = `/v1/credentials/${SHARED_CREDENTIAL}`;
  const record = credentialRecord({ consumerNamespaces: ['*'] });
  const change = await pushed(simulators, 'version', (round) =>
    tell(operator, `${path}/material`, material({ value: `version ${round} ${nowMs()}` })),
  );
  notePush(rows.change, change, simulators, note);
  const revoke = await pushed(
    simulators,
    'revoke',
    () => tell(operator, path, json({ ...record, hosts: ['elsewhere.example.com'] })),
    () => tell(operator, path, json(record)),
  );
  notePush(rows.revoke, revoke, simulators, note);
}

interface Pushed {
  latencies: number[];
  missing: number;
}

async function pushed(
  simulators: Simulators,
  type: 'version' | 'revoke',
  make: (round: number) => Promise<void>,
  undo?: () => Promise<void>,
): Promise<Pushed> {
  const latencies: number[] = [];
  let missing = 0;
  for (let round = 0; round < PUSH_ROUNDS; round += 1) {
    await simulators.all({ ask: 'watch', type });
    const began = nowMs();
    await make(round);
    const { atMs } = await simulators.all({ ask: 'arrivals', limitMs: 20_000 });
    for (const at of atMs) latencies.push(at - began);
    missing += simulators.count - atMs.length;
    if (undo === undefined) continue;
    await simulators.all({ ask: 'watch', type: 'grant' });
    await undo();
    await simulators.all({ ask: 'arrivals', limitMs: 20_000 });
  }
  return { latencies, missing };
}

function notePush(row: Row, { latencies, missing }: Pushed, simulators: Simulators, note: Note): void {
  const { max, p50, p99 } = percentiles(latencies) ?? { p50: 0, p99: Number.POSITIVE_INFINITY, max: 0 };
  const lost = missing === 0 ? '' : `, ${missing} never`;
  const numbers = { sidecars: simulators.count, p50, p99, max, missing };
  note(row, `p50 ${ms(p50)}, p99 ${ms(p99)}, last ${ms(max)}${lost}`, numbers, p99 < PUSH_AIM_MS && missing === 0);
}

/** The store is killed, and started again at the same port. Returns the new one. */
export async function reconnect(
  bench: BenchStore,
  store: StoreProcess,
  simulators: Simulators,
  note: Note,
): Promise<StoreProcess> {
  await simulators.all({ ask: 'steady', sidecars: 100 });
  const port = Number(new URL(store.storeUrl).port);
  await store.kill();
  const again = await bench.process(port);
  const { done, failures, latenciesMs, seconds, waiting } = await simulators.all({ ask: 'reopened', limitMs: 120_000 });
  const all = done === simulators.count;
  note(
    'reconnectAll',
    `${seconds.toFixed(1)} s${all ? '' : `, ${simulators.count - done} not`}`,
    { seconds, done },
    all && seconds <= RECONNECT_AIM_SECONDS,
  );
  const { Unreachable: unreachable = 0, ...refusals } = failures;
  const { max, p50, p99 } = percentiles(latenciesMs) ?? { p50: 0, p99: 0, max: 0 };
  const refused = sum(refusals);
  note(
    'steadyAll',
    `${latenciesMs.length} given after p50 ${ms(p50)}, p99 ${ms(p99)}, last ${ms(max)}; ${waiting} not given, ${refused} refused, ${unreachable} tries without an answer`,
    { given: latenciesMs.length, waiting, refused, unreachable, p50, p99, max },
    refused === 0 && waiting === 0,
  );
  return again;
}

export function memory(store: StoreProcess, note: Note): void {
  const rssMb = residentMb(store.child.pid!);
  const peakMb = statusMb(store.child.pid!, 'VmHWM');
  note('memory', `${round(rssMb)} MB (peak ${round(peakMb)})`, { rssMb, peakMb }, peakMb <= MEMORY_AIM_MB);
}

async function tell(operator: StoreClient, path: string, body: Parameters<StoreClient['call']>[2]): Promise<void> {
  const answer = await operator.call('PUT', path, body);
  if (answer.status >= 300) throw new Error(`PUT ${path} was answered ${answer.status} ${answer.body}`);
}

function residentMb(pid: number): number {
  return statusMb(pid, 'VmRSS');
}

function statusMb(pid: number, field: string): number {
  const line = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return Number(line?.[1] ?? Number.NaN) / 1024;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

export function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(1);
}

function ms(value: number): string {
  return `${round(value)} ms`;
}
