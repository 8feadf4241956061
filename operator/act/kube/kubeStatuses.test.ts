import { afterEach, expect, test } from 'vitest';
import type { ObjectStatus } from '../../../api/condition.ts';
import { ApiDouble, answer } from '../../../lib/kube/testing/apiDouble.ts';
import { KubeStatuses } from './kubeStatuses.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };
let api: ApiDouble | undefined;
let statuses: KubeStatuses | undefined;
afterEach(async () => {
  statuses?.close();
  await api?.close();
});

const status = (ready: 'True' | 'False'): ObjectStatus => ({
  observedGeneration: 2,
  conditions: [{ type: 'Ready', status: ready, reason: 'Ready', message: 'm', lastTransitionTime: 't' }],
});
const theirs = { type: 'Foreign', status: 'False', reason: 'Theirs', message: 'm', lastTransitionTime: 't' };
const settle = () => new Promise((resolve) => setTimeout(resolve, 250));

async function told() {
  const bodies: { status: ObjectStatus }[] = [];
  api = await ApiDouble.start((request, response) => {
    bodies.push(JSON.parse(request.body));
    answer(response, 200, {});
  });
  statuses = new KubeStatuses({
    client: api.client,
    log,
    first: new Map(),
    exists: () => true,
    permitted: () => true,
    tellAgainMs: 100,
  });
  statuses.write([{ kind: 'Credential', key: 'team/key', file: '', status: status('True') }]);
  await settle();
  expect(bodies).toHaveLength(1);
  return { bodies, seen: (value: unknown) => statuses!.seen('Credential', 'team/key', value) };
}

test('a status that somebody has overwritten or emptied is told again, once for many such writes', async () => {
  const { bodies, seen } = await told();
  for (let i = 0; i < 20; i += 1) seen(status('False'));
  await settle();
  expect(bodies.map((body) => body.status)).toEqual([status('True'), status('True')]);
  seen(undefined);
  await settle();
  expect(bodies).toHaveLength(3);
});

test('what we have said ourselves is not said again when it comes back, late or with conditions of others', async () => {
  const { bodies, seen } = await told();
  seen(undefined);
  seen(status('False'));
  seen({ ...status('True'), conditions: [theirs, ...status('True').conditions] });
  await settle();
  expect(bodies).toHaveLength(1);
});
