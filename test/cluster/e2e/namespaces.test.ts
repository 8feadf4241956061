import { afterAll, beforeAll, expect, test } from 'vitest';
import { deniedBy } from '../../policies/deniedBy.ts';
import { MADE } from './madeNamespace.ts';
import { hostOf } from './upstreamPod.ts';
import { World } from './world.ts';

const ALICE = { name: 'alice' };
const DEVELOPER = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: { name: 'e2e-developer', labels: MADE },
  rules: [
    {
      apiGroups: ['sidekey.dev'],
      resources: ['credentials', 'integrations'],
      verbs: ['get', 'list', 'create', 'update', 'patch'],
    },
    {
      apiGroups: [''],
      resources: ['pods', 'pods/exec', 'pods/attach', 'pods/log', 'pods/ephemeralcontainers', 'serviceaccounts/token'],
      verbs: ['*'],
    },
  ],
};

let world: World;
beforeAll(async () => {
  world = await World.open();
  for (const ns of ['team-a', 'team-b']) await world.namespace(ns);
  await world.grant('team-a', 'theirs', 'key-of-team-a-only');
  await world.apply(DEVELOPER);
  for (const ns of ['team-a', 'team-b'])
    await world.kubectl(['-n', ns, 'create', 'rolebinding', 'dev', '--clusterrole=e2e-developer', '--user=alice']);
  await world.agent({ name: 'genuine', namespace: 'team-a' });
  await world.running('team-a', 'genuine');
});
afterAll(() => world?.close());

test("a pod of another namespace gets nothing of this one's", async () => {
  await world.agent({ name: 'stranger', namespace: 'team-b' });
  await world.running('team-b', 'stranger');
  const { stdout } = await world.exec('team-b', 'stranger', 'curl', '-sS', `https://${hostOf('api')}/`);
  expect(JSON.parse(stdout)).toMatchObject({ ok: false });
  expect((await world.exec('team-a', 'genuine', 'curl', '-sS', `https://${hostOf('api')}/`)).stdout).toContain(
    '"ok":true',
  );
});

const integration = (credential: object) => ({
  apiVersion: 'sidekey.dev/v1alpha1',
  kind: 'Integration',
  metadata: { name: 'borrowed', namespace: 'team-b' },
  spec: {
    credentialRef: credential,
    hosts: [hostOf('api')],
    inject: [{ bearer: {} }],
    subjects: { tags: ['llm'] },
  },
});

test('an Integration at a Credential of another namespace needs the verb use', async () => {
  const tried = await world.attempt(['apply', '-f', '-'], {
    user: ALICE,
    input: JSON.stringify(integration({ name: 'theirs', namespace: 'team-a' })),
  });
  expect(tried.code).not.toBe(0);
  expect(tried.stderr).toMatch(deniedBy('credential-use', 'use'));
});

test('and with it, the Credential has to allow the namespace', async () => {
  await world.apply(integration({ name: 'theirs', namespace: 'team-a' }));
  await world.kubectl([
    ...['-n', 'team-b', 'wait', 'integration/borrowed', '--timeout=20s'],
    '--for=jsonpath={.status.conditions[?(@.type=="ResolvedRefs")].reason}=CredentialNotAllowed',
  ]);
  const { stdout } = await world.exec('team-b', 'stranger', 'curl', '-sS', `https://${hostOf('api')}/`);
  expect(JSON.parse(stdout)).toMatchObject({ ok: false });
});

test('a Credential cannot be pointed at a Secret that its author may not read', async () => {
  const input = JSON.stringify({
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Credential',
    metadata: { name: 'stolen', namespace: 'team-a' },
    spec: { source: { secret: { name: 'theirs', key: 'value' } }, hosts: ['attacker.example.com'] },
  });
  const tried = await world.attempt(['apply', '-f', '-'], { user: ALICE, input });
  expect(tried).toMatchObject({ code: 1, stderr: expect.stringMatching(deniedBy('credential-source', 'theirs')) });
});

test('a token of the audience cannot be minted by a user', async () => {
  const tried = await world.attempt(['-n', 'team-a', 'create', 'token', 'default', '--audience=sidekey'], {
    user: ALICE,
  });
  const words = 'only a kubelet may request tokens for the audience sidekey';
  expect(tried).toMatchObject({ code: 1, stderr: expect.stringMatching(deniedBy('token-audience', words)) });
  // Of any other audience it can.
  expect((await world.attempt(['-n', 'team-a', 'create', 'token', 'default'], { user: ALICE })).code).toBe(0);
});

test.for([
  ['exec', ['exec', 'genuine', '-c', 'sidekey', '--', 'id']],
  ['attach', ['attach', 'genuine', '-c', 'sidekey']],
])('%s into the sidecar is refused', async ([, args]) => {
  const tried = await world.attempt(['-n', 'team-a', ...(args as string[])], { user: ALICE });
  expect(tried.code).not.toBe(0);
  expect(tried.stderr).toContain('no exec and no attach into container sidekey');
});

test('an ephemeral container at the sidecar is refused', async () => {
  const tried = await world.attempt(
    ['-n', 'team-a', 'debug', 'genuine', '--image=example.com/x', '--target=sidekey', '--profile=general'],
    { user: ALICE },
  );
  expect(tried.code).not.toBe(0);
  expect(tried.stderr).toMatch(deniedBy('ephemeral-containers', 'may not target the sidekey container'));
});

test("the sidecar's image cannot be changed afterwards", async () => {
  const patch = JSON.stringify([{ op: 'replace', path: '/spec/initContainers/0/image', value: 'example.com/evil' }]);
  const tried = await world.attempt(['-n', 'team-a', 'patch', 'pod', 'genuine', '--type=json', '-p', patch], {
    user: ALICE,
  });
  expect(tried.code).not.toBe(0);
  expect(tried.stderr).toMatch(deniedBy('pod-update', 'the image of the containers sidekey and sidekey-redirect'));
});

/** A pod of alice's; what comes of it is said by the API server, and nothing is kept. */
const tried = (labels: object, spec: object) =>
  world.attempt(['-n', 'team-a', 'create', '--dry-run=server', '-o', 'json', '-f', '-'], {
    user: ALICE,
    input: JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'thief', namespace: 'team-a', labels },
      spec,
    }),
  });
const TOKEN = {
  name: 'mine',
  projected: { sources: [{ serviceAccountToken: { audience: 'sidekey', path: 'token', expirationSeconds: 3600 } }] },
};
const THIEF = { name: 'thief', image: 'example.com/x' };

test('a container of the author does not get the token, labelled or not', async () => {
  const spec = { containers: [{ ...THIEF, volumeMounts: [{ name: 'mine', mountPath: '/token' }] }], volumes: [TOKEN] };
  const bare = await tried({}, spec);
  expect(bare.stderr).toMatch(deniedBy('sidecar', 'belongs in pods labelled sidekey.dev/inject=true'));
  const labelled = await tried({ 'sidekey.dev/inject': 'true' }, spec);
  expect(labelled.stderr).toMatch(deniedBy('sidecar', 'only the sidekey container may mount its token'));
});

test('the genuine image with another command gets no token, and where the webhook sees it the command is the genuine one', async () => {
  const { spec } = JSON.parse(await world.kubectl(['-n', 'team-a', 'get', 'pod', 'genuine', '-o', 'json']));
  const genuine = spec.initContainers.find(({ name }: { name: string }) => name === 'sidekey');
  const evil = { ...genuine, command: ['/usr/local/bin/node', '-e', 'steal'], volumeMounts: [] };
  const mine = { containers: [THIEF], initContainers: [evil], volumes: [TOKEN] };
  expect((await tried({}, mine)).stderr).toMatch(deniedBy('sidecar', 'belongs in pods labelled'));
  const { stdout } = await tried({ 'sidekey.dev/inject': 'true' }, { ...mine, volumes: [] });
  const injected = JSON.parse(stdout).spec.initContainers;
  expect(injected.map(({ command, name }: { command: string[]; name: string }) => ({ command, name }))).toEqual([
    { name: 'sidekey', command: genuine.command },
  ]);
});

test('a running pod cannot be given another ServiceAccount', async () => {
  const args = ['-n', 'team-a', 'patch', 'pod', 'genuine', '--type=merge', '-p'];
  const patch = JSON.stringify({ spec: { serviceAccountName: 'other', serviceAccount: 'other' } });
  const switched = await world.attempt([...args, patch], { user: ALICE });
  expect(switched).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('spec: Forbidden: pod updates may not change fields'),
  });
});

test('an Integration at a Credential of its own namespace needs the verb use as well', async () => {
  const { spec } = integration({ name: 'theirs' });
  const own = { ...integration({ name: 'theirs' }), metadata: { name: 'own', namespace: 'team-a' }, spec };
  const refused = await world.attempt(['apply', '-f', '-'], { user: ALICE, input: JSON.stringify(own) });
  expect(refused.stderr).toMatch(deniedBy('credential-use', 'use'));
});

test("a pod's own ServiceAccount cannot give it another tag", async () => {
  const tried = await world.attempt(['-n', 'team-a', 'label', 'pod', 'genuine', 'tag.sidekey.dev/payments=true'], {
    user: { name: 'system:serviceaccount:team-a:default', groups: ['system:masters'] },
  });
  expect(tried.code).not.toBe(0);
  expect(tried.stderr).toMatch(deniedBy('pod-update', 'the ServiceAccount of a pod may not change its labels'));
});
