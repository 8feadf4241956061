import { afterEach, expect, test, vi } from 'vitest';
import { ApiDouble, answer } from '../../../lib/kube/testing/apiDouble.ts';
import { KubeEvents } from './kubeEvents.ts';
import { worthTelling } from './statusEvents.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
let api: ApiDouble | undefined;
afterEach(() => api?.close());

async function start() {
  const notes: { note: string; eventTime: string; type: string }[] = [];
  let nowMs = 1_000_000;
  api = await ApiDouble.start((request, response) => {
    notes.push(JSON.parse(request.body));
    answer(response, 201, {});
  });
  const clock = { nowMs: () => 1_700_000_000_123, monotonicMs: () => nowMs };
  const events = new KubeEvents({ client: api.client, clock, log, instance: 'pod' });
  return { events, notes, pass: (ms: number) => (nowMs += ms) };
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 100));
const about = (name: string) => ({ kind: 'Credential' as const, namespace: 'team', name, uid: 'u' });

test('the same is told once in ten minutes, with the digits that the API server asks for', async () => {
  const { events, notes, pass } = await start();
  for (let i = 0; i < 5; i += 1) events.warn(about('key'), 'SecretForbidden', 'run this');
  await vi.waitFor(() => expect(notes).not.toHaveLength(0), 10_000);
  await settle();
  expect(notes).toHaveLength(1);
  expect(notes[0]).toMatchObject({ eventTime: '2023-11-14T22:13:20.123000Z', type: 'Warning', note: 'run this' });
  pass(10 * 60_000 + 1);
  events.warn(about('key'), 'SecretForbidden', 'run this');
  await vi.waitFor(() => expect(notes).toHaveLength(2), 10_000);
});

test('a storm of Events is bounded, and what was left out is counted', async () => {
  const { events, notes } = await start();
  for (let i = 0; i < 5_000; i += 1) events.warn(about(`key-${i}`), 'SecretForbidden', 'run this');
  expect(events.dropped).toBe(4_950);
  await vi.waitFor(() => expect(notes).toHaveLength(50), 10_000);
  await settle();
  expect(notes).toHaveLength(50);
});

test('told are turns to not Ready and conflicts, not what passes by itself or stays', () => {
  const status = (
    ready: 'True' | 'False',
    reason: 'Ready' | 'SecretForbidden' | 'SecretPending',
    conflict: 'True' | 'False' = 'False',
  ) => ({
    conditions: [
      { type: 'Ready' as const, status: ready, reason, message: 'm' },
      { type: 'HostConflict' as const, status: conflict, reason: 'OlderIntegrationWins' as const, message: 'c' },
    ],
  });
  expect(worthTelling(undefined, status('False', 'SecretForbidden'))?.type).toBe('Ready');
  expect(worthTelling(status('False', 'SecretForbidden'), status('False', 'SecretForbidden'))).toBeUndefined();
  expect(worthTelling(status('True', 'Ready'), status('False', 'SecretPending'))).toBeUndefined();
  expect(worthTelling(status('False', 'SecretForbidden'), status('True', 'Ready'))).toBeUndefined();
  expect(worthTelling(undefined, status('True', 'Ready', 'True'))?.type).toBe('HostConflict');
});
