import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ObjectStatus } from '../../api/condition.ts';
import { decodeFields } from '../../api/fields.ts';
import type { ObjectsAnswer } from '../../api/protocol.ts';
import { KubeError } from '../../lib/kube/client.ts';
import { json, SESSION, StoreClient } from '../store/storeClient.ts';
import { KubeWorld, type OperatorReplica } from './kubeWorld.ts';
import { within } from './operatorProcess.ts';

const NS = 'storm';
const OURS = 'sidekey.dev/store';
const PASSING = 'example.com/passing';
const FOREIGN = 'example.com/kept';
/** Set once, before the storm: whoever drops it has not left alone what is not theirs. */
const ANCHOR = 'example.com/anchor';
const FOREIGN_CONDITION = 'Foreign';
const NAMES = ['a', 'b', 'c'];
const STORM_MS = 6_000;
const REST_MS = 4_000;
const SETTLE_SECONDS = 40;
const KINDS = ['credentials', 'integrations'] as const;

let world: KubeWorld;
let operator: OperatorReplica;
beforeAll(async () => {
  world = await KubeWorld.start();
  operator = await world.operator();
  await world.namespace(NS);
  for (const name of NAMES) {
    await world.secret(NS, `keys-${name}`, 'sk-first');
    await world.credential(NS, name, sourceOf(name));
    await world.integration(NS, name, name);
  }
  await everyStatus('all are Ready', isRight);
  for (const kind of KINDS)
    for (const name of NAMES) {
      const { apiVersion, kind: kindName } = await get(kind, name);
      const metadata = { name, namespace: NS, finalizers: [ANCHOR], labels: { anchor: '' } };
      await world.client.apply(pathOf(kind, name), { apiVersion, kind: kindName, metadata }, 'anchor');
    }
}, 120_000);
afterAll(() => world?.stop());

interface Stored {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    generation: number;
    resourceVersion: string;
    finalizers?: string[];
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: { hosts: string[] };
  status?: ObjectStatus;
}

const sourceOf = (name: string) => ({ secret: { name: `keys-${name}`, key: 'key' } });
const pathOf = (kind: string, name: string) => `/apis/sidekey.dev/v1alpha1/namespaces/${NS}/${kind}/${name}`;
const get = (kind: string, name: string) => world.client.get<Stored>(pathOf(kind, name));
const all = async () =>
  (await Promise.all(KINDS.flatMap((kind) => NAMES.map((name) => get(kind, name))))) as readonly Stored[];

/** Whether it says Ready of its last generation, in each of its conditions. */
function isRight({ metadata, status }: Stored): boolean {
  const ours = (status?.conditions ?? []).filter(({ type }) => ![FOREIGN_CONDITION, 'HostConflict'].includes(type));
  return (
    ours.length >= 3 &&
    status?.observedGeneration === metadata.generation &&
    ours.every((one) => one.status === 'True' && one.observedGeneration === metadata.generation)
  );
}

async function everyStatus(what: string, check: (object: Stored) => boolean): Promise<void> {
  let wrong: Stored[] = [];
  await within(SETTLE_SECONDS, what, async () => {
    wrong = (await all()).filter((object) => !check(object));
    return wrong.length === 0;
  }).catch((error: Error) => {
    throw new Error(`${error.message}: ${JSON.stringify(wrong)}`);
  });
}

/** Hosts of a Credential: the Integrations keep to the first. */
const hostsOf = (n: number) => ['api.example.com', `n${n}.example.com`];

/** Writes as somebody who only knows what the API server has; a conflict is lost and nothing else. */
type Writer = (kind: (typeof KINDS)[number], name: string, n: number) => Promise<unknown>;

const condition = (type: string, n: number) => ({
  ...{ type, status: 'False', reason: 'Hijacked', message: `no ${n}`, lastTransitionTime: new Date().toISOString() },
});

const WRITERS: Record<string, Writer> = {
  'the spec, applied': (kind, name, n) => {
    const spec =
      kind === 'credentials'
        ? { source: sourceOf(name), hosts: hostsOf(n) }
        : {
            credentialRef: { name },
            hosts: ['api.example.com'],
            inject: [{ header: { name: `x-key-${n}` } }],
            subjects: { tags: ['llm'] },
          };
    const kindName = kind === 'credentials' ? 'Credential' : 'Integration';
    const body = { apiVersion: 'sidekey.dev/v1alpha1', kind: kindName, metadata: { name, namespace: NS }, spec };
    return world.client.apply(pathOf(kind, name), body, 'test');
  },
  'labels and annotations, patched': (kind, name, n) => {
    const metadata = { labels: { round: `${n}` }, annotations: { 'example.com/round': `${n}` } };
    return world.client.patch(pathOf(kind, name), { metadata }, 'merge', { fieldManager: 'labeller' });
  },
  'finalizers, patched from what was read': async (kind, name, n) => {
    const { metadata } = await get(kind, name);
    const rest = (metadata.finalizers ?? []).filter((one) => one !== FOREIGN && one !== PASSING);
    const finalizers = [...rest, FOREIGN, ...(n % 2 ? [PASSING] : [])];
    // Without a resourceVersion: what has changed since the read, such as our finalizer, is undone.
    return world.client.patch(pathOf(kind, name), { metadata: { finalizers } }, 'merge');
  },
  'everything, replaced': async (kind, name, n) => {
    const object = await get(kind, name);
    object.metadata.annotations = { ...object.metadata.annotations, replaced: `${n}` };
    return world.client.replace(pathOf(kind, name), object, { fieldManager: 'replacer' });
  },
  'a condition of its own, applied to the status': (kind, name, n) => {
    const kindName = kind === 'credentials' ? 'Credential' : 'Integration';
    const status = { conditions: [condition('Foreign', n)] };
    const body = { apiVersion: 'sidekey.dev/v1alpha1', kind: kindName, metadata: { name, namespace: NS }, status };
    return world.client.apply(`${pathOf(kind, name)}/status`, body, 'foreign');
  },
  'our conditions, replaced in the status': async (kind, name, n) => {
    const object = await get(kind, name);
    if (object.status === undefined) return;
    const conditions = [condition('Ready', n), condition('Foreign', n)] as unknown as ObjectStatus['conditions'];
    object.status = { observedGeneration: 1, conditions };
    return world.client.replace(`${pathOf(kind, name)}/status`, object, { fieldManager: 'hijacker' });
  },
};

async function write(writer: Writer, writes: { done: number; conflicts: number }): Promise<void> {
  const untilMs = performance.now() + STORM_MS;
  for (let n = 1; performance.now() < untilMs; n += 1) {
    for (const kind of KINDS)
      for (const name of NAMES)
        try {
          await writer(kind, name, n);
          writes.done += 1;
        } catch (error) {
          if (!(error instanceof KubeError && error.status === 409)) throw error;
          writes.conflicts += 1;
        }
  }
}

/** Requests of that kind that the API server has answered, of us and of all others. */
async function patches(): Promise<number> {
  const { stdout } = await world.plane.kubectl(['get', '--raw', '/metrics']);
  const lines = stdout
    .split('\n')
    .filter((line) => /^apiserver_request_total\{.*group="sidekey\.dev".*verb="(APPLY|PATCH|PUT)"/.test(line));
  expect(lines.length).toBeGreaterThan(0);
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

async function comesToRest(): Promise<void> {
  const versions = async () => (await all()).map(({ metadata }) => metadata.resourceVersion).join();
  const untilMs = performance.now() + 30_000;
  for (;;) {
    const [before, asked] = [await versions(), await patches()];
    await sleep(REST_MS);
    if ((await versions()) === before && (await patches()) === asked) return;
    if (performance.now() > untilMs) throw new Error('writes do not come to rest');
  }
}

test('in a storm of writes by others everything arrives, nothing foreign is touched, and then it is quiet', async () => {
  const writes = { done: 0, conflicts: 0 };
  let value = 0;
  const rotating = (async () => {
    const untilMs = performance.now() + STORM_MS;
    while (performance.now() < untilMs) {
      value += 1;
      for (const name of NAMES) await world.secret(NS, `keys-${name}`, `sk-${name}-${value}`);
    }
  })();
  await Promise.all([rotating, ...Object.values(WRITERS).map((writer) => write(writer, writes))]);
  console.log(`${writes.done} writes, ${writes.conflicts} conflicts, ${value} rotations`);
  expect(writes.conflicts).toBeGreaterThan(0);
  // The last word is known of each.
  for (const kind of KINDS) for (const name of NAMES) await WRITERS['the spec, applied']!(kind, name, 99_999);
  await everyStatus('statuses are right', isRight);
  await comesToRest();
  for (const object of await all()) {
    expect(isRight(object), JSON.stringify(object)).toBe(true);
    expect(object.metadata.finalizers).toEqual(expect.arrayContaining([ANCHOR, FOREIGN]));
    expect(object.metadata.labels?.anchor).toBe('');
    expect(object.metadata.labels?.round).toMatch(/^\d+$/);
    expect(object.metadata.annotations?.['example.com/round']).toMatch(/^\d+$/);
    expect(object.status?.conditions.map(({ type }) => type)).toContain('Foreign');
  }
  for (const name of NAMES) {
    const { finalizers = [] } = (await get('credentials', name)).metadata;
    expect(finalizers.filter((one) => one === OURS)).toEqual([OURS]);
    expect((await get('integrations', name)).metadata.finalizers).not.toContain(OURS);
  }
  await storeHolds(`${value}`);
}, 120_000);

async function storeHolds(value: string): Promise<void> {
  const reader = await StoreClient.join(world.store, { kind: 'operator' });
  const { credentials, integrations } = (await reader.call('GET', '/v1/objects')).json<ObjectsAnswer>();
  reader.close();
  const sidecar = await StoreClient.join(world.store, {
    kind: 'session',
    session: { ...SESSION, namespace: NS, tags: ['llm'] },
  });
  for (const name of NAMES) {
    const key = `${NS}/${name}`;
    expect(credentials.find((one) => one.key === key)?.record.hosts).toEqual(hostsOf(99_999));
    expect(integrations.find((one) => one.key === key)?.record.inject).toMatchObject([
      { header: { name: 'x-key-99999' } },
    ]);
    const lease = await sidecar.call('POST', '/v1/leases', json({ credential: key }));
    expect(decodeFields(lease.body).get('value')?.toString()).toBe(`sk-${name}-${value}`);
  }
  sidecar.close();
}

test('our finalizer that somebody has taken off comes back beside theirs', async () => {
  const finalizers = [FOREIGN, ANCHOR, PASSING];
  await world.client.patch(pathOf('credentials', 'b'), { metadata: { finalizers } }, 'merge');
  const now = async () => (await get('credentials', 'b')).metadata.finalizers ?? [];
  await within(SETTLE_SECONDS, 'ours is there', async () => (await now()).includes(OURS));
  expect((await now()).toSorted()).toEqual([...finalizers, OURS].toSorted());
});

test('a status that somebody else has overwritten is told anew, though nothing that it is about has changed', async () => {
  for (const kind of KINDS) await WRITERS['our conditions, replaced in the status']!(kind, 'a', 1);
  await everyStatus('statuses are right', isRight);
  await comesToRest();
  expect((await operator.metrics()).text).toMatch(/^sidekey_operator_queue_depth\{queue="statuses"\} 0$/m);
}, 60_000);
