import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { SessionEvent } from '../../api/protocol.ts';
import { TestStore } from '../../test/sidecar/testStore.ts';
import { EventStream } from './eventStream.ts';
import { joinStore, quiet, until } from './testkit.ts';

let store: TestStore;
beforeAll(async () => {
  store = await TestStore.start();
  await store.credential();
  await store.integration();
});
afterAll(() => store.stop());

async function follow(options: { pollMs?: number } = {}) {
  const identity = await joinStore(store);
  const events: SessionEvent[] = [];
  const { replicas } = identity;
  const stream = new EventStream({
    replicas,
    context: () => identity.context,
    event: (event) => {
      if (event.type !== 'heartbeat') events.push(event);
    },
    log: quiet,
    revoked: (reason) => expect.fail(reason),
    ...options,
  });
  onTestFinished(() => stream.close());
  await until(() => events.length > 0);
  return { events, identity };
}

test('after a crash of the store a sidecar goes on where it was, and is told no more than is new', async () => {
  const { events } = await follow();
  expect(events[0]).toMatchObject({ type: 'snapshot', grants: [{ integration: 'default/example' }] });
  await store.restart();
  await expect.poll(() => events.length, { timeout: 15_000 }).toBe(2);
  expect(events[1]).toEqual({ type: 'resumed', cursor: expect.any(String) });
  await store.material('a value');
  await until(() => events.length === 3);
  expect(events[2]).toMatchObject({ type: 'version', credential: 'default/key', version: 1 });
});

test('what changed while the store was away is told from the start', async () => {
  const { events } = await follow();
  await store.restart();
  await store.integration({ alias: 'other' });
  // By a snapshot or, if the sidecar was back before, by the change alone.
  const told = () =>
    events.slice(1).flatMap((event) => {
      if (event.type === 'snapshot') return event.grants.map(({ alias }) => alias);
      return event.type === 'grant' ? [event.grant.alias] : [];
    });
  await expect.poll(told, { timeout: 15_000 }).toEqual(['other']);
});

test('a poll brings what the stream would begin with, for this session alone, and nothing without one', async () => {
  const { identity, events } = await follow();
  const { replicas } = identity;
  const { EventRequest } = await import('./eventRequest.ts');
  const poll = (cursor: string) =>
    new Promise<SessionEvent[]>((resolve, reject) => {
      const polled: SessionEvent[] = [];
      new EventRequest({
        address: replicas.current,
        context: identity.context,
        path: `/v1/session/snapshot?cursor=${cursor}`,
        silenceMs: 5_000,
        event: (event) => polled.push(event),
        over: (failure) => (failure === undefined ? resolve(polled) : reject(failure)),
      });
    });
  const [first] = await poll('');
  expect(first).toEqual(events[0]);
  expect(await poll(first!.cursor!)).toEqual([{ type: 'resumed', cursor: first!.cursor }]);
  await store.endSession(identity.session.id);
  await expect(poll('')).rejects.toMatchObject({ code: 'IdentityRevoked' });
});
