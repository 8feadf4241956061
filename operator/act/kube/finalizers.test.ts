import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../../lib/clock.ts';
import { ApiDouble, answer } from '../../../lib/kube/testing/apiDouble.ts';
import { type Finalized, Finalizers } from './finalizers.ts';
import { KubeEvents } from './kubeEvents.ts';

const MINUTE_MS = 60_000;
const log = { debug() {}, info() {}, warn() {}, error() {} };
let api: ApiDouble | undefined;
let finalizers: Finalizers | undefined;
afterEach(async () => {
  finalizers?.close();
  await api?.close();
});

async function start(credential: Finalized, held: boolean, { permitted = true, aheadMs = 0 } = {}) {
  const bodies: { path: string; body: { metadata: { finalizers?: string[]; uid?: string }; reason?: string } }[] = [];
  api = await ApiDouble.start((request, response) => {
    bodies.push({ path: `${request.method} ${request.url!.split('?')[0]}`, body: JSON.parse(request.body) });
    answer(response, 200, {});
  });
  finalizers = new Finalizers({
    client: api.client,
    clock: { ...systemClock, nowMs: () => systemClock.nowMs() + aheadMs },
    log,
    events: new KubeEvents({ client: api.client, clock: systemClock, log, instance: 'test' }),
    credentials: () => new Map([['team/key', credential]]),
    held: () => held,
    permitted: () => permitted,
    waitLimitMs: 300,
  });
  finalizers.look();
  await new Promise((resolve) => setTimeout(resolve, 150));
  return bodies;
}

const path = 'PATCH /apis/sidekey.dev/v1alpha1/namespaces/team/credentials/key';

test('a Credential that the store holds something of gets the finalizer, bound to its uid', async () => {
  const bodies = await start({ uid: 'u1', finalizer: false, deletedAtMs: undefined }, true);
  expect(bodies).toEqual([
    {
      path,
      body: expect.objectContaining({
        metadata: { namespace: 'team', name: 'key', uid: 'u1', finalizers: ['sidekey.dev/store'] },
      }),
    },
  ]);
});

test('one that the store holds nothing of loses it', async () => {
  const bodies = await start({ uid: 'u1', finalizer: true, deletedAtMs: undefined }, false);
  expect(bodies.map(({ body }) => body.metadata.finalizers)).toEqual([undefined]);
});

test('a deletion waits for the store, but not for ever: then it is let go, and an Event says so', async () => {
  const bodies = await start({ uid: 'u1', finalizer: true, deletedAtMs: Date.now() }, true);
  expect(bodies).toEqual([]);
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(bodies.map(({ path: at }) => at)).toContain(path);
  expect(bodies.find(({ body }) => body.reason !== undefined)?.body.reason).toBe('StoreUnavailable');
});

test.each([
  ['ahead', MINUTE_MS * 5],
  ['behind', MINUTE_MS * -5],
])(
  'a deletion waits as long where our clock is five minutes %s of the one that said when it was',
  async (_, aheadMs) => {
    const bodies = await start({ uid: 'u1', finalizer: true, deletedAtMs: Date.now() }, true, { aheadMs });
    expect(bodies).toEqual([]);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(bodies.map(({ path: at }) => at)).toContain(path);
  },
);

test('a deletion of long ago does not wait anew for each operator that starts', async () => {
  const bodies = await start({ uid: 'u1', finalizer: true, deletedAtMs: Date.now() - MINUTE_MS * 6 }, true);
  expect(bodies.map(({ path: at }) => at)).toContain(path);
});

test('who leads no more changes nothing', async () => {
  expect(await start({ uid: 'u1', finalizer: false, deletedAtMs: undefined }, true, { permitted: false })).toEqual([]);
});
