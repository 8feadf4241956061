import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pathOf, START_LIMIT_MS } from '../crds/withCrds.ts';
import { deniedBy } from './deniedBy.ts';
import { type Governed, NAMESPACE, outcome, startWithPolicies } from './withPolicies.ts';

let cluster: Governed;
beforeAll(async () => {
  cluster = await startWithPolicies();
}, START_LIMIT_MS);
afterAll(() => cluster?.plane.stop());

const credentials = pathOf('Credential', NAMESPACE);
const integrations = pathOf('Integration', NAMESPACE);
const DRY = { dryRun: 'All' };

describe('a Credential can only be pointed at a Secret that its author may get', () => {
  const ref = (name: string) => ({ name, key: 'k' });
  const sources: [string, string, object][] = [
    ['secret', 'openai', { secret: ref('openai') }],
    [
      'oauth2',
      'crm',
      { oauth2: { tokenURL: 'https://login.example.com/t', clientID: 'a', clientSecretRef: ref('crm') } },
    ],
    ['githubApp', 'gh', { githubApp: { appID: '1', installationID: '2', privateKeyRef: ref('gh') } }],
    ['aws', 'aws', { aws: { keysRef: { name: 'aws' } } }],
    ['vault', 'vault-ca', { vault: { address: 'https://vault', path: 'a', caBundleRef: ref('vault-ca'), auth: {} } }],
  ];

  test.for(sources)('by the source %s', async ([, secret, source]) => {
    const object = credential('new', source);
    expect(await outcome(cluster.alice.create(credentials, object, DRY))).toMatch(
      deniedBy(
        'credential-source',
        `you may not get Secret ${secret} in namespace agents, so you may not point a Credential at it`,
      ),
    );
    expect(await outcome(cluster.bob.create(credentials, object, DRY))).toBe('allowed');
  });

  test('a source that names none needs no Secret', async () => {
    for (const source of [{ store: {} }, { generated: {} }])
      expect(await outcome(cluster.alice.create(credentials, credential('new', source), DRY))).toBe('allowed');
  });

  test('nor at a ServiceAccount that its author may not be', async () => {
    const auth = { kubernetes: { role: 'a', serviceAccountName: 'vault-login' } };
    const object = credential('new', { vault: { address: 'https://vault', path: 'a', auth } });
    expect(await outcome(cluster.alice.create(credentials, object, DRY))).toBe('allowed');
    const elsewhere = pathOf('Credential', 'platform');
    // alice may mint tokens in `agents` only; where she may not, she could not write Credentials either.
    await grantWriting('carol');
    expect(await outcome(cluster.plane.client({ name: 'carol' }).create(elsewhere, object, DRY))).toMatch(
      deniedBy('credential-source', 'you may not create tokens of ServiceAccount vault-login'),
    );
  });

  test('and who may not get it can neither point an existing one at it nor widen one that does', async () => {
    await cluster.admin.create(credentials, credential('openai-key', { secret: ref('openai') }));
    await cluster.admin.create(credentials, credential('harmless', { store: {} }));
    const words = 'you may not get Secret openai in namespace agents';
    const widen = { spec: { hosts: ['api.openai.com', 'attacker.example.com'] } };
    const point = { spec: { source: { store: null, secret: ref('openai') } } };
    expect(await outcome(cluster.alice.patch(`${credentials}/openai-key`, widen, 'merge', DRY))).toMatch(
      deniedBy('credential-source', words),
    );
    expect(await outcome(cluster.alice.patch(`${credentials}/harmless`, point, 'merge', DRY))).toMatch(
      deniedBy('credential-source', words),
    );
    // Not by pointing it elsewhere at once, either: what it held goes on being sent until it is replaced.
    const away = { spec: { source: { secret: null, store: {} }, ...widen.spec } };
    expect(await outcome(cluster.alice.patch(`${credentials}/openai-key`, away, 'merge', DRY))).toMatch(
      deniedBy('credential-source', words),
    );
    expect(await outcome(cluster.bob.patch(`${credentials}/openai-key`, away, 'merge', DRY))).toBe('allowed');
    expect(await outcome(cluster.bob.patch(`${credentials}/openai-key`, widen, 'merge', DRY))).toBe('allowed');
    const label = { metadata: { labels: { team: 'a' } } };
    expect(await outcome(cluster.alice.patch(`${credentials}/openai-key`, label, 'merge', DRY))).toBe('allowed');
  });
});

describe('an Integration needs the verb use on its Credential', () => {
  test('in its own namespace', async () => {
    const object = integration({ name: 'openai-key' });
    expect(await outcome(cluster.alice.create(integrations, object, DRY))).toMatch(
      deniedBy(
        'credential-use',
        'you may not use Credential agents/openai-key; ask for a Role with the verb use on credentials.sidekey.dev in namespace agents',
      ),
    );
    expect(await outcome(cluster.bob.create(integrations, object, DRY))).toBe('allowed');
  });

  test('in another namespace', async () => {
    const object = (name: string) => integration({ name, namespace: 'platform' });
    // What bob may use here is not what has that name there.
    expect(await outcome(cluster.bob.create(integrations, object('openai-key'), DRY))).toMatch(
      deniedBy('credential-use', 'you may not use Credential platform/openai-key'),
    );
    expect(await outcome(cluster.bob.create(integrations, object('shared'), DRY))).toBe('allowed');
    expect(await outcome(cluster.alice.create(integrations, object('shared'), DRY))).toMatch(
      deniedBy('credential-use', 'you may not use Credential platform/shared'),
    );
  });

  test('also to change one that another has made; but not to label it', async () => {
    await cluster.admin.create(integrations, integration({ name: 'openai-key' }, 'existing'));
    const path = `${integrations}/existing`;
    const widen = { spec: { subjects: { tags: ['mine'] } } };
    expect(await outcome(cluster.alice.patch(path, widen, 'merge', DRY))).toMatch(
      deniedBy('credential-use', 'you may not use Credential agents/openai-key'),
    );
    expect(await outcome(cluster.bob.patch(path, widen, 'merge', DRY))).toBe('allowed');
    expect(
      await outcome(cluster.bob.patch(path, { spec: { credentialRef: { name: 'other' } } }, 'merge', DRY)),
    ).toMatch(deniedBy('credential-use', 'you may not use Credential agents/other'));
    expect(await outcome(cluster.alice.patch(path, { metadata: { labels: { a: 'b' } } }, 'merge', DRY))).toBe(
      'allowed',
    );
  });
});

test('an Integration that sends its Credential in the clear needs the verb use-plaintext too', async () => {
  const { spec, ...rest } = integration({ name: 'openai-key' });
  const plain = { ...rest, spec: { ...spec, allowPlaintext: true } };
  expect(await outcome(cluster.bob.create(integrations, plain, DRY))).toMatch(
    deniedBy('credential-use', 'you may not send Credential agents/openai-key in the clear; leave out allowPlaintext'),
  );
  await cluster.admin.create(integrations, integration({ name: 'openai-key' }, 'encrypted'));
  const patch = { spec: { allowPlaintext: true } };
  expect(await outcome(cluster.bob.patch(`${integrations}/encrypted`, patch, 'merge', DRY))).toMatch(
    deniedBy('credential-use', 'in the clear'),
  );
  expect(await outcome(cluster.admin.create(integrations, plain, DRY))).toBe('allowed');
});

async function grantWriting(name: string): Promise<void> {
  const path = '/apis/rbac.authorization.k8s.io/v1/namespaces/platform';
  const rules = [{ apiGroups: ['sidekey.dev'], resources: ['credentials'], verbs: ['create'] }];
  await cluster.admin.create(`${path}/roles`, { metadata: { name }, rules });
  await cluster.admin.create(`${path}/rolebindings`, {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name }],
  });
}

function credential(name: string, source: object) {
  return {
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Credential',
    metadata: { name },
    spec: { source, hosts: ['api.openai.com'] },
  };
}

function integration(credentialRef: object, name = 'new') {
  const spec = { credentialRef, hosts: ['api.openai.com'], inject: [{ bearer: {} }], subjects: { tags: ['llm'] } };
  return { apiVersion: 'sidekey.dev/v1alpha1', kind: 'Integration', metadata: { name }, spec };
}
