import { expect, test } from 'vitest';
import { type Requestable, stampRequester } from './stampRequester.ts';

const ANNOTATION = 'sidekey.dev/requested-by';
const jane = { username: 'jane@example.com', groups: ['system:authenticated'] };
const replicaSetController = {
  username: 'system:serviceaccount:kube-system:replicaset-controller',
  groups: ['system:serviceaccounts', 'system:serviceaccounts:kube-system', 'system:authenticated'],
};

const metadata = (requester?: string, inject = 'true') => ({
  labels: { 'sidekey.dev/inject': inject },
  ...(requester !== undefined && { annotations: { [ANNOTATION]: requester } }),
});
const deployment = (requester?: string, inject?: string): Requestable => ({
  kind: 'Deployment',
  spec: { template: { metadata: metadata(requester, inject) } },
});
const cronJob = (requester?: string): Requestable => ({
  kind: 'CronJob',
  spec: { jobTemplate: { spec: { template: { metadata: metadata(requester) } } } },
});

const requesterOf = ({ metadata: own, spec }: Requestable) =>
  (spec?.jobTemplate?.spec?.template ?? spec?.template ?? { metadata: own }).metadata?.annotations?.[ANNOTATION];
const created = (object: Requestable, user = jane, trustedControllers: string[] = []) =>
  requesterOf(stampRequester({ operation: 'CREATE', object, user, trustedControllers }));
const updated = (oldObject: Requestable, object: Requestable, user = jane) =>
  requesterOf(stampRequester({ operation: 'UPDATE', object, oldObject, user, trustedControllers: [] }));

test.for([deployment(), deployment('boss'), cronJob('boss'), { metadata: metadata('boss') }])(
  'whoever creates it is who asked for it, whatever it says: %j',
  (object) => {
    expect(created(object)).toBe('jane@example.com');
  },
);

test('what a controller creates keeps what its template says', () => {
  const pod = { metadata: metadata('jane@example.com') };
  expect(created(pod, replicaSetController)).toBe('jane@example.com');
  expect(created({ metadata: metadata() }, replicaSetController)).toBeUndefined();
});

test.for([
  { ...replicaSetController, groups: ['system:authenticated'] },
  { username: 'system:serviceaccount:kube-system:my-controller', groups: replicaSetController.groups },
  { username: 'system:serviceaccount:team-a:replicaset-controller', groups: replicaSetController.groups },
])('a name that looks like a controller is not one: %j', (user) => {
  expect(created({ metadata: metadata('boss') }, user)).toBe(user.username);
});

test('the word of further controllers is taken where the settings name them', () => {
  const user = { username: 'system:serviceaccount:argo:rollouts', groups: [] };
  expect(created(deployment('jane'), user, [user.username])).toBe('jane');
  expect(created(deployment('jane'), user)).toBe(user.username);
});

test('a later edit neither changes nor drops who asked for it', () => {
  const bob = { username: 'bob', groups: [] };
  for (const edited of [deployment('boss'), deployment(), deployment('bob', 'false')])
    expect(updated(deployment('jane'), edited, bob)).toBe('jane');
  expect(updated(cronJob('jane'), cronJob('boss'), bob)).toBe('jane');
  expect(updated(deployment(), deployment('boss'), bob)).toBeUndefined();
});

test('whoever makes a template an agent’s has asked for it, also where it says another already', () => {
  expect(updated(deployment('boss', 'false'), deployment('boss'))).toBe('jane@example.com');
  expect(updated({ spec: { template: {} } }, deployment())).toBe('jane@example.com');
});

test('what is no agent’s is the same object', () => {
  const object = deployment('anything', 'false');
  expect(stampRequester({ operation: 'CREATE', object, user: jane, trustedControllers: [] })).toBe(object);
});

test('a name may be long and have any characters', () => {
  const user = { username: `CN=${'ü'.repeat(2_000)}/"\n`, groups: [] };
  expect(created(deployment(), user)).toBe(user.username);
});
