import type { ServerResponse } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../clock.ts';
import type { KubeObject } from './kubeObject.ts';
import { Reflector, type ReflectorOptions, type ReflectorState } from './reflector.ts';
import { ApiDouble, answer, configMap, refusal } from './testing/apiDouble.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const opened: { close(): void | Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

/** A collection whose lists and watches are answered by what the test says. */
async function reflect(
  handlers: {
    list: (nth: number, response: ServerResponse) => void;
    watch: (nth: number, response: ServerResponse, from: string | null) => void;
  },
  options: Partial<ReflectorOptions<KubeObject>> = {},
) {
  let lists = 0;
  let watches = 0;
  const api = await ApiDouble.start(({ query }, response) => {
    if (query.get('fieldSelector') !== null)
      answer(response, 200, { items: [configMap('wanted', '50')], metadata: {} });
    else if (query.get('watch') === null) handlers.list(++lists, response);
    else {
      response.writeHead(200).flushHeaders();
      handlers.watch(++watches, response, query.get('resourceVersion'));
    }
  });
  const changes: string[] = [];
  const states: ReflectorState[] = [];
  const reflector = new Reflector({
    client: api.client,
    path: '/api/v1/namespaces/team/configmaps',
    clock: systemClock,
    log: silent,
    onChange: ({ key, before, after }) =>
      changes.push(`${key} ${before?.metadata?.resourceVersion ?? '-'} ${after?.metadata?.resourceVersion ?? '-'}`),
    onState: (state) => states.push(state),
    ...options,
  });
  opened.push(api, reflector);
  reflector.start();
  return { api, reflector, changes, states };
}

const list = (response: ServerResponse, items: KubeObject[], resourceVersion: string) =>
  answer(response, 200, { items, metadata: { resourceVersion } });
const event = (response: ServerResponse, type: string, object: object) =>
  response.write(`${JSON.stringify({ type, object })}\n`);

async function until(check: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000; i += 1) {
    if (check()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('waited in vain');
}

test('it lists, then follows what is added, changed and deleted', async () => {
  const { reflector, changes } = await reflect({
    list: (_nth, response) => list(response, [configMap('a', '1'), configMap('b', '2')], '5'),
    watch: (nth, response) => {
      if (nth > 1) return;
      event(response, 'MODIFIED', configMap('a', '6'));
      event(response, 'DELETED', configMap('b', '7'));
      event(response, 'ADDED', configMap('c', '8'));
    },
  });
  await until(() => changes.length === 5);
  expect(changes).toEqual(['team/a - 1', 'team/b - 2', 'team/a 1 6', 'team/b 2 -', 'team/c - 8']);
  expect([...reflector.items.keys()]).toEqual(['team/a', 'team/c']);
  expect(reflector.state).toEqual({ synced: true });
});

test('a dropped watch is resumed from the last event or bookmark, without a list', async () => {
  const from: (string | null)[] = [];
  const { api } = await reflect({
    list: (_nth, response) => list(response, [], '5'),
    watch: (nth, response, resourceVersion) => {
      from.push(resourceVersion);
      if (nth === 1) {
        event(response, 'ADDED', configMap('a', '6'));
        setTimeout(() => response.destroy(), 20);
      } else if (nth === 2) {
        event(response, 'BOOKMARK', { metadata: { resourceVersion: '42' } });
        setTimeout(() => response.end(), 20);
      }
    },
  });
  await until(() => from.length === 3);
  expect(from).toEqual(['5', '6', '42']);
  expect(api.requests.filter((request) => !request.includes('watch='))).toHaveLength(1);
});

test('after 410 in the stream it lists again, and tells what went meanwhile', async () => {
  const { changes } = await reflect({
    list: (nth, response) =>
      nth === 1
        ? list(response, [configMap('a', '1'), configMap('b', '2')], '5')
        : list(response, [configMap('b', '9')], '10'),
    watch: (nth, response) => {
      if (nth === 1) event(response, 'ERROR', refusal(410, 'Expired'));
    },
  });
  await until(() => changes.length === 4);
  expect(changes).toEqual(['team/a - 1', 'team/b - 2', 'team/b 2 9', 'team/a 1 -']);
});

test('an object that took the name of another between two lists is told as gone and new', async () => {
  const { changes } = await reflect({
    list: (nth, response) => list(response, [configMap('a', String(nth), `uid-${nth}`)], '5'),
    watch: (nth, response) => {
      if (nth === 1) event(response, 'ERROR', refusal(410, 'Expired'));
    },
  });
  await until(() => changes.length === 3);
  expect(changes).toEqual(['team/a - 1', 'team/a 1 -', 'team/a - 2']);
});

test('forbidden shows in its state, is tried again, and goes once it works', async () => {
  const { reflector, states } = await reflect({
    list: (nth, response) =>
      nth < 4 ? answer(response, 403, refusal(403, 'Forbidden')) : list(response, [configMap('a', '1')], '5'),
    watch: () => {},
  });
  await reflector.synced();
  expect(states).toEqual([{ synced: false, failure: { status: 403, reason: 'Forbidden' } }, { synced: true }]);
});

test('a watch that fails keeps what is held, and says so until one stands', async () => {
  const { reflector, states } = await reflect({
    list: (_nth, response) => list(response, [configMap('a', '1')], '5'),
    watch: (nth, response) => {
      if (nth === 1) setTimeout(() => response.destroy(), 5);
    },
  });
  await until(() => states.length === 3);
  expect(states[1]?.failure?.reason).toMatch(/^UND_ERR_SOCKET|ECONNRESET$/);
  expect(states[2]).toEqual({ synced: true });
  expect(reflector.items.size).toBe(1);
});

test('what keep leaves out is not there; a refresh brings what it wants now, unless an event was newer', async () => {
  const wanted = new Set(['b']);
  let stream: ServerResponse | undefined;
  const { api, reflector, changes } = await reflect(
    {
      list: (_nth, response) => list(response, [configMap('wanted', '1'), configMap('b', '2')], '5'),
      watch: (_nth, response) => {
        stream = response;
      },
    },
    { keep: (object) => (wanted.has(object.metadata!.name!) ? object : undefined) },
  );
  await until(() => stream !== undefined);
  expect(changes).toEqual(['team/b - 2']);
  wanted.add('wanted');
  await reflector.refresh('wanted');
  expect(changes).toEqual(['team/b - 2', 'team/wanted - 50']);
  expect(api.requests.at(-1)).toContain('fieldSelector=metadata.name%3Dwanted');
  const refreshed = reflector.refresh('wanted');
  event(stream!, 'MODIFIED', configMap('wanted', '60'));
  await until(() => changes.length === 3);
  await refreshed;
  expect(reflector.items.get('team/wanted')?.metadata?.resourceVersion).toBe('60');
});

test('a handler that throws does not end it', async () => {
  const seen: string[] = [];
  await reflect(
    {
      list: (_nth, response) => list(response, [configMap('a', '1'), configMap('b', '2')], '5'),
      watch: () => {},
    },
    {
      onChange: ({ key }) => {
        seen.push(key);
        throw new Error('a fault');
      },
    },
  );
  await until(() => seen.length === 2);
});

test('a server that ends every watch at once is not asked in a loop', async () => {
  let count = 0;
  await reflect({
    list: (_nth, response) => list(response, [], '5'),
    watch: (nth, response) => {
      count = nth;
      response.end();
    },
  });
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(count).toBeLessThan(15);
});
