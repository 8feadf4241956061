import { expect, test } from 'vitest';
import { CONDITION_REASONS, type ConditionReason, type ConditionType } from '../../api/condition.ts';
import { carriedOut, inputOf, NOW } from '../testing/input.ts';
import { credentialYaml, integrationYaml, secretYaml } from '../testing/yaml.ts';
import { type Decision, decide } from './decide.ts';
import type { DecideInput } from './input.ts';

const SECRET = secretYaml('sk-good');
const GOOD = credentialYaml() + integrationYaml() + SECRET;
const STORE = '{store: {}}';

/** Decides, lets the store take all of it, and decides again. */
function settle(yaml: string, byHand?: Record<string, string[]>, changes: Partial<DecideInput> = {}): Decision {
  const input = inputOf(yaml, changes);
  return decide(carriedOut(input, decide(input).plan, byHand));
}

function condition(decision: Decision, id: string, type: ConditionType) {
  const object = decision.statuses.find(({ kind, key }) => `${kind} ${key}` === id);
  return object?.status.conditions.find((one) => one.type === type);
}

interface Row {
  name: string;
  yaml: string;
  id: string;
  type: ConditionType;
  reason: ConditionReason;
  message?: RegExp;
  /** Whether the object is in force all the same. */
  inForce?: boolean;
  byHand?: Record<string, string[]>;
  changes?: Partial<DecideInput>;
}

const credential = 'Credential default/key';
const integration = 'Integration default/example';
const inOther = (yaml: string) => yaml.replace('  name:', '  namespace: other\n  name:');
const across = (allowed: string) =>
  credentialYaml({ rest: `  allowedConsumers: {namespaces: ${allowed}}` }) +
  SECRET +
  inOther(integrationYaml()).replace('{name: key}', '{name: key, namespace: default}');

const sourceWith = (yaml: string, changes: Partial<DecideInput['source']>): Partial<DecideInput> => ({
  source: { ...inputOf(yaml).source, ...changes },
});

const rows: Row[] = [
  {
    name: 'a source of a later version',
    yaml: credentialYaml({ source: '{perUser: {}}' }),
    id: credential,
    type: 'SourceResolved',
    reason: 'SourceNotSupported',
    message: /perUser.*use secret, store, generated/,
  },
  {
    name: 'a version that is too old',
    yaml: credentialYaml({ rest: '  maxLifetime: 30m' }) + SECRET,
    id: credential,
    type: 'Ready',
    reason: 'MaterialExpired',
    message: /Version 1 .*maxLifetime 30m .*change Secret keys/,
    inForce: true,
  },
  {
    name: 'a version that is used up',
    yaml: credentialYaml({ rest: '  maxUses: 2' }) + SECRET,
    id: credential,
    type: 'Ready',
    reason: 'UsesExhausted',
    message: /Version 1 .*maxUses 2 .*change Secret keys/,
    inForce: true,
  },
  {
    name: 'delivery by gateway',
    yaml: credentialYaml({ rest: '  delivery: Gateway' }) + SECRET,
    id: credential,
    type: 'Stored',
    reason: 'DeliveryNotSupported',
    message: /use Sidecar/,
  },
  {
    name: 'a Secret that is not there',
    yaml: credentialYaml(),
    id: credential,
    type: 'SourceResolved',
    reason: 'SecretDoesNotExist',
    message: /no Secret keys in namespace default/,
    inForce: true,
  },
  {
    name: 'Secrets that may not be read',
    yaml: credentialYaml(),
    changes: sourceWith(credentialYaml(), {
      unreadableSecrets: new Map([['default/keys', { reason: 'SecretForbidden', message: 'run: kubectl create …' }]]),
    }),
    id: credential,
    type: 'SourceResolved',
    reason: 'SecretForbidden',
    message: /kubectl create/,
    inForce: true,
  },
  {
    name: 'Secrets that were not read yet',
    yaml: credentialYaml(),
    changes: sourceWith(credentialYaml(), {
      unreadableSecrets: new Map([['default/keys', { reason: 'SecretPending', message: 'they are being read' }]]),
    }),
    id: credential,
    type: 'SourceResolved',
    reason: 'SecretPending',
    inForce: true,
  },
  {
    name: 'an Integration that is not valid any more',
    yaml: GOOD,
    changes: sourceWith(GOOD, {
      invalid: new Map([
        [integration, { kind: 'Integration', key: 'default/example', file: 'a', generation: 1, message: 'spec.x' }],
      ]),
    }),
    id: integration,
    type: 'Accepted',
    reason: 'Invalid',
    message: /spec\.x/,
    inForce: true,
  },
  {
    name: 'a key that the Secret does not have',
    yaml: credentialYaml() + secretYaml('sk', { key: 'other' }),
    id: credential,
    type: 'SourceResolved',
    reason: 'SecretKeyDoesNotExist',
    message: /no key api-key; it has other/,
    inForce: true,
  },
  {
    name: 'an empty value',
    yaml: credentialYaml() + secretYaml(''),
    id: credential,
    type: 'SourceResolved',
    reason: 'InvalidMaterial',
    message: /is empty/,
    inForce: true,
  },
  {
    name: 'a value with a trailing line break',
    yaml: credentialYaml() + secretYaml('sk\n'),
    id: credential,
    type: 'SourceResolved',
    reason: 'InvalidMaterial',
    message: /ends with a line break.*printf %s/,
    inForce: true,
  },
  {
    name: 'a value with a control byte',
    yaml: credentialYaml() + secretYaml('sk\u0001x'),
    id: credential,
    type: 'SourceResolved',
    reason: 'InvalidMaterial',
    message: /control byte at position 3/,
    inForce: true,
  },
  {
    name: 'a value of more than 64 KiB',
    yaml: credentialYaml() + secretYaml('k'.repeat(65_537)),
    id: credential,
    type: 'SourceResolved',
    reason: 'InvalidMaterial',
    message: /65537 bytes/,
    inForce: true,
  },
  {
    name: 'values of more than 64 KiB together',
    yaml: `${credentialYaml({ source: '{secret: {name: keys, fields: {a: api-key, b: api-key}}}' })}${secretYaml('k'.repeat(40_000))}`,
    id: credential,
    type: 'SourceResolved',
    reason: 'InvalidMaterial',
    message: /together/,
    inForce: true,
  },
  {
    name: 'source store without a value',
    yaml: credentialYaml({ source: STORE }),
    id: credential,
    type: 'SourceResolved',
    reason: 'MaterialMissing',
    message: /sidekey credential set key$/,
    inForce: true,
  },
  {
    name: 'a wildcard under a public suffix',
    yaml: credentialYaml({ hosts: '"*.co.uk"' }) + SECRET,
    id: credential,
    type: 'Stored',
    reason: 'WildcardTooWide',
    message: /\*\.co\.uk/,
  },
  {
    name: 'a wildcard under a private suffix',
    yaml: credentialYaml({ hosts: 'ok.example.com, "*.github.io"' }) + SECRET,
    id: credential,
    type: 'Stored',
    reason: 'WildcardTooWide',
    message: /spec\.hosts\[1\] \*\.github\.io/,
  },
  {
    name: 'a wildcard of an Integration under a public suffix',
    yaml: GOOD.replaceAll('[api.example.com]', '["*.co.uk"]'),
    id: integration,
    type: 'Accepted',
    reason: 'WildcardTooWide',
  },
  {
    name: 'a Credential that is not there',
    yaml: integrationYaml(),
    id: integration,
    type: 'ResolvedRefs',
    reason: 'CredentialDoesNotExist',
    message: /default\/key/,
  },
  {
    name: 'a Credential of another namespace',
    yaml: across('{from: Same}'),
    id: 'Integration other/example',
    type: 'ResolvedRefs',
    reason: 'CredentialNotAllowed',
    message: /does not allow namespace other/,
  },
  {
    name: 'a Credential whose selector leaves the namespace out',
    yaml: across('{from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: third}}}'),
    id: 'Integration other/example',
    type: 'ResolvedRefs',
    reason: 'CredentialNotAllowed',
  },
  {
    name: 'a Credential that is not in force',
    yaml: credentialYaml({ rest: '  delivery: Gateway' }) + SECRET + integrationYaml(),
    id: integration,
    type: 'ResolvedRefs',
    reason: 'CredentialNotReady',
  },
  {
    name: 'a Credential without material',
    yaml: credentialYaml() + integrationYaml(),
    id: integration,
    type: 'Ready',
    reason: 'CredentialNotReady',
    message: /requests are refused/,
    inForce: true,
  },
  {
    name: 'a host that the Credential is not for',
    yaml: credentialYaml() + SECRET + integrationYaml({ hosts: 'api.example.com, api.example.org' }),
    id: integration,
    type: 'Accepted',
    reason: 'HostOutsideCredential',
    message: /spec\.hosts\[1\] api\.example\.org.*for api\.example\.com/,
  },
  {
    name: 'a port that the Credential is not for',
    yaml: credentialYaml() + SECRET + integrationYaml({ hosts: '"api.example.com:8443"' }),
    id: integration,
    type: 'Accepted',
    reason: 'HostOutsideCredential',
  },
  {
    name: 'a field that the material does not have',
    yaml: credentialYaml() + SECRET + integrationYaml({ inject: '[{bearer: {field: token}}]' }),
    id: integration,
    type: 'Accepted',
    reason: 'FieldDoesNotExist',
    message: /needs field token.*has value/,
  },
  {
    name: 'a field that a header format names',
    yaml:
      credentialYaml() + SECRET + integrationYaml({ inject: '[{header: {name: x-key, format: "{value}:{token}"}}]' }),
    id: integration,
    type: 'Accepted',
    reason: 'FieldDoesNotExist',
    message: /needs field token/,
  },
  {
    name: 'a field of material that was set by hand',
    yaml: credentialYaml({ source: STORE }) + integrationYaml(),
    byHand: { 'default/key': ['user', 'password'] },
    id: integration,
    type: 'Accepted',
    reason: 'FieldDoesNotExist',
    message: /needs field value.*has user, password/,
  },
  {
    name: 'a signature placement',
    yaml: credentialYaml() + SECRET + integrationYaml({ inject: '[{awsSigV4: {service: s3, region: eu}}]' }),
    id: integration,
    type: 'Accepted',
    reason: 'PlacementNotSupported',
  },
  {
    name: 'bearer and basic at once',
    yaml: credentialYaml() + SECRET + integrationYaml({ inject: '[{bearer: {}}, {basic: {username: me}}]' }),
    id: integration,
    type: 'Accepted',
    reason: 'PlacementConflict',
    message: /inject\[0\] and spec\.inject\[1\] both write the header authorization/,
  },
  {
    name: 'one header twice in two spellings',
    yaml: credentialYaml() + SECRET + integrationYaml({ inject: '[{header: {name: X-Key}}, {header: {name: x-key}}]' }),
    id: integration,
    type: 'Accepted',
    reason: 'PlacementConflict',
  },
  {
    name: 'a limit of another scope',
    yaml:
      credentialYaml() +
      SECRET +
      integrationYaml({ rest: '  limits: [{requests: 1, window: 1m}, {requests: 1, window: 1m, scope: Role}]' }),
    id: integration,
    type: 'Accepted',
    reason: 'LimitScopeNotSupported',
    message: /limits\[1\]\.scope Role/,
  },
  {
    name: 'a credential per user',
    yaml: credentialYaml() + SECRET + integrationYaml({ rest: '  user: {session: {}}' }),
    id: integration,
    type: 'Accepted',
    reason: 'UserNotSupported',
  },
  {
    name: 'an alias for a wildcard',
    yaml:
      credentialYaml({ hosts: '"*.example.com"' }) +
      SECRET +
      integrationYaml({ hosts: '"*.example.com"', rest: '  alias: example' }),
    id: integration,
    type: 'Accepted',
    reason: 'AliasNeedsExactHost',
  },
  {
    name: 'an alias that an older Integration has',
    yaml:
      GOOD.replace('subjects:', 'alias: api\n  subjects:') + integrationYaml({ name: 'late', rest: '  alias: api' }),
    changes: { firstSeen: new Map([['default/example', '2026-01-01T00:00:00Z']]) },
    id: 'Integration default/late',
    type: 'Accepted',
    reason: 'AliasConflict',
    message: /default\/example has the alias api/,
  },
  {
    name: 'an older Integration for the same host',
    yaml: GOOD + integrationYaml({ name: 'a-late' }),
    changes: { firstSeen: new Map([['default/example', '2026-01-01T00:00:00Z']]) },
    id: 'Integration default/a-late',
    type: 'HostConflict',
    reason: 'OlderIntegrationWins',
    message: /Integration default\/example covers the same host/,
    inForce: true,
  },
  {
    name: 'nobody else for the host',
    yaml: GOOD,
    id: integration,
    type: 'HostConflict',
    reason: 'NoConflict',
    inForce: true,
  },
  {
    name: 'a store that is away',
    yaml: GOOD,
    changes: { storeAway: 'ECONNREFUSED' },
    id: credential,
    type: 'Stored',
    reason: 'StoreUnavailable',
    message: /ECONNREFUSED/,
    inForce: true,
  },
  {
    name: 'all that is well: source',
    yaml: GOOD,
    id: credential,
    type: 'SourceResolved',
    reason: 'SourceResolved',
    inForce: true,
  },
  { name: 'all that is well: stored', yaml: GOOD, id: credential, type: 'Stored', reason: 'Stored', inForce: true },
  { name: 'all that is well: ready', yaml: GOOD, id: credential, type: 'Ready', reason: 'Ready', inForce: true },
  {
    name: 'all that is well: accepted',
    yaml: GOOD,
    id: integration,
    type: 'Accepted',
    reason: 'Accepted',
    inForce: true,
  },
  {
    name: 'all that is well: references',
    yaml: GOOD,
    id: integration,
    type: 'ResolvedRefs',
    reason: 'ResolvedRefs',
    inForce: true,
  },
  {
    name: 'all that is well: programmed',
    yaml: GOOD,
    id: integration,
    type: 'Programmed',
    reason: 'Programmed',
    inForce: true,
  },
  {
    name: 'a store that has not answered yet',
    yaml: GOOD,
    id: integration,
    type: 'Programmed',
    reason: 'Pending',
    inForce: true,
  },
];

test.each(rows)('$reason: $name', ({ byHand, changes, id, inForce = false, message, reason, type, yaml }) => {
  const before = reason === 'Pending' || reason === 'StoreUnavailable';
  const decision = before ? decide(inputOf(yaml, changes)) : settle(yaml, byHand, changes);
  const found = condition(decision, id, type);
  expect(found).toMatchObject({ reason, observedGeneration: 1, lastTransitionTime: NOW.toISOString() });
  if (message !== undefined) expect(found?.message).toMatch(message);
  // The reason of what is wrong is the reason of Ready, and what is not in force is not in the plan either.
  if (!inForce) expect(condition(decision, id, 'Ready')).toMatchObject({ status: 'False' });
  const { held } = carriedOut(inputOf(yaml, changes), decide(inputOf(yaml, changes)).plan, byHand);
  const [kind, key] = id.split(' ') as [string, string];
  const input = { ...inputOf(yaml, changes), held };
  const settled = carriedOut(input, decide(input).plan, byHand).held;
  expect((kind === 'Credential' ? settled.credentials : settled.integrations).has(key)).toBe(inForce);
});

test('how long and how often a version may be used is told to the store, and when it ends is told to people', () => {
  const yaml = credentialYaml({ rest: '  maxLifetime: 2h\n  maxUses: 3' }) + SECRET;
  const input = inputOf(yaml);
  const after = decide(carriedOut(input, decide(input).plan));
  expect(decide(input).plan.putCredentials[0]!.record).toMatchObject({ maxLifetimeSeconds: 7_200, maxUses: 3 });
  expect(after.statuses[0]!.status).toMatchObject({ expirationTime: '2026-06-01T13:00:00.000Z' });
  expect(condition(after, credential, 'Ready')).toMatchObject({ status: 'True' });
});

test('material stays in the store while its Secret may not be read, and an invalid object that was never valid says so', () => {
  const yaml = credentialYaml() + SECRET;
  const input = inputOf(yaml);
  const held = carriedOut(input, decide(input).plan);
  const without = inputOf(credentialYaml()).source;
  const unreadableSecrets = new Map([['default/keys', { reason: 'SecretForbidden' as const, message: 'forbidden' }]]);
  const invalid = new Map([
    [
      'Credential default/old',
      { kind: 'Credential' as const, key: 'default/old', file: 'a', generation: 7, message: 'm' },
    ],
  ]);
  const decision = decide({ ...held, source: { ...without, unreadableSecrets, invalid } });
  expect(Object.values(decision.plan).flat()).toEqual([]);
  expect(condition(decision, credential, 'Ready')).toMatchObject({ status: 'False', reason: 'SecretForbidden' });
  expect(condition(decision, 'Credential default/old', 'Ready')).toMatchObject({
    reason: 'Invalid',
    observedGeneration: 7,
  });
});

test('every reason can be reached', () => {
  expect([...new Set(rows.map(({ reason }) => reason))].sort()).toEqual(Object.keys(CONDITION_REASONS).sort());
});

test('what a store refuses is said in its own words', () => {
  const failures = new Map([[credential, { code: 'StorageFailed', message: 'the disk is full' }]]);
  expect(condition(decide(inputOf(GOOD, { failures })), credential, 'Ready')).toMatchObject({
    status: 'False',
    reason: 'StoreUnavailable',
    message: expect.stringContaining('StorageFailed: the disk is full'),
  });
});

test('once all is in force there is nothing to do, and placements with fields of all kinds are taken', () => {
  const yaml =
    credentialYaml({ source: '{secret: {name: keys, fields: {user: api-key, password: api-key}}}' }) +
    integrationYaml({
      inject:
        '[{basic: {usernameField: user, passwordField: password}}, {header: {name: x-key, format: "k {value}", field: user}}, {query: {name: key, field: user}}]',
    }) +
    SECRET;
  const { plan, statuses } = settle(yaml);
  expect(Object.values(plan).flat()).toEqual([]);
  expect(statuses.map(({ status }) => status.conditions[0]!.status)).toEqual(['True', 'True']);
});

test('the status names source, version and placeholder; a table finds hosts and credential', () => {
  const [first, second] = settle(GOOD).statuses;
  expect(first).toMatchObject({
    kind: 'Credential',
    status: { source: 'secret', version: 1, placeholder: expect.stringMatching(/sidekeyPlaceholder/) },
  });
  expect(second).toMatchObject({ kind: 'Integration', hosts: ['api.example.com'], credential: 'default/key' });
});

test('a Selector that matches lets the namespaces in that use the Credential, All lets everybody in', () => {
  const selected = settle(across('{from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: other}}}'));
  expect(condition(selected, 'Integration other/example', 'Ready')?.status).toBe('True');
  const plan = (allowed: string) => decide(inputOf(across(allowed))).plan.putCredentials[0]!.record.consumerNamespaces;
  expect(plan('{from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: other}}}')).toEqual(['other']);
  expect(plan('{from: All}')).toEqual(['*']);
  expect(plan('{from: Same}')).toEqual([]);
});

test('who may not use a Credential learns neither its hosts nor its fields', () => {
  const decision = settle(
    across('{from: Same}').replace('[api.example.com]\n  inject', '[elsewhere.example.org]\n  inject'),
  );
  expect(condition(decision, 'Integration other/example', 'Accepted')?.status).toBe('True');
  expect(JSON.stringify(decision.statuses.find(({ kind }) => kind === 'Integration'))).not.toContain('api.example.com');
});

test('no HostConflict where roles, paths or methods keep two Integrations apart', () => {
  const second = (changes: Parameters<typeof integrationYaml>[0]) =>
    condition(
      settle(GOOD.replace('{tags: [llm]}', '{roles: [a]}') + integrationYaml({ name: 'late', ...changes })),
      'Integration default/late',
      'HostConflict',
    )?.status;
  expect(second({ subjects: '{roles: [b]}' })).toBe('False');
  expect(second({ subjects: '{roles: [a]}', rest: '  rules: [{paths: [{value: /v1}]}]' })).toBe('False');
  expect(second({ subjects: '{roles: [a]}' })).toBe('True');
  expect(second({ subjects: '{tags: [llm]}' })).toBe('True');
});

test('conditions keep their time while their status stays, and get a new one when it changes', () => {
  const first = settle(GOOD);
  const previous = new Map(first.statuses.map(({ kind, key, status }) => [`${kind} ${key}`, status]));
  const now = new Date('2026-07-01T00:00:00.000Z');
  const same = settle(GOOD, {}, { previous, now });
  expect(condition(same, credential, 'Ready')?.lastTransitionTime).toBe(NOW.toISOString());
  const changed = settle(credentialYaml() + integrationYaml(), {}, { previous, now });
  expect(condition(changed, credential, 'Ready')?.lastTransitionTime).toBe(now.toISOString());
  expect(condition(changed, integration, 'Accepted')?.lastTransitionTime).toBe(NOW.toISOString());
});

test('createdAt comes from the object, else from the store, else from when it was first seen', () => {
  const firstSeen = new Map([['default/example', '2026-02-02T00:00:00Z']]);
  const createdAt = (input: DecideInput) => decide(input).createdAt.get('default/example');
  expect(createdAt(inputOf(GOOD))).toBe(NOW.toISOString());
  expect(createdAt(inputOf(GOOD, { firstSeen }))).toBe('2026-02-02T00:00:00Z');
  const held = carriedOut(inputOf(GOOD), decide(inputOf(GOOD)).plan).held;
  expect(createdAt(inputOf(GOOD, { firstSeen, held }))).toBe(NOW.toISOString());
  const dated = GOOD.replace('  name: example', '  creationTimestamp: "2025-01-01T00:00:00Z"\n  name: example');
  expect(createdAt(inputOf(dated, { firstSeen, held }))).toBe('2025-01-01T00:00:00Z');
});

test('material is sent when its bytes, its fields or the version in the store differ, and only then', () => {
  const input = inputOf(GOOD);
  const settled = carriedOut(input, decide(input).plan);
  const sends = (changes: Partial<DecideInput>) => decide({ ...settled, ...changes }).plan.putMaterial.length;
  expect(sends({})).toBe(0);
  expect(sends({ sent: new Map() })).toBe(1);
  expect(sends({ source: inputOf(GOOD.replace('sk-good', 'sk-new')).source })).toBe(1);
  expect(
    sends({
      source: inputOf(
        GOOD.replace('{secret: {name: keys, key: api-key}}', '{secret: {name: keys, fields: {other: api-key}}}'),
      ).source,
    }),
  ).toBe(1);
  const held = settled.held.credentials.get('default/key')!;
  expect(sends({ held: { ...settled.held, credentials: new Map([['default/key', { ...held, version: 7 }]]) } })).toBe(
    1,
  );
});

test('a Secret that is gone takes its material along, one that is only unread does not', () => {
  const input = inputOf(GOOD);
  const settled = carriedOut(input, decide(input).plan);
  const { source } = inputOf(credentialYaml() + integrationYaml());
  expect(decide({ ...settled, source }).plan.dropMaterial.map(({ key }) => key)).toEqual(['default/key']);
  const named = { ...source, unread: { anything: false, objects: new Set(['Secret default/keys']) } };
  expect(decide({ ...settled, source: named }).plan.dropMaterial).toEqual([]);
  const anything = { ...source, unread: { anything: true, objects: new Set<string>() } };
  expect(decide({ ...settled, source: anything }).plan.dropMaterial).toEqual([]);
});

test('what the store holds beyond the source is deleted, unless it may stand in a file that could not be read', () => {
  const input = inputOf(GOOD);
  const settled = carriedOut(input, decide(input).plan);
  const { source } = inputOf('');
  expect(decide({ ...settled, source }).plan).toMatchObject({
    deleteCredentials: ['default/key'],
    deleteIntegrations: ['default/example'],
  });
  const unread = { ...source, unread: { anything: true, objects: new Set<string>() } };
  expect(decide({ ...settled, source: unread }).plan).toMatchObject({ deleteCredentials: [], deleteIntegrations: [] });
  expect(decide({ ...settled, source: unread, known: new Set([integration]) }).plan.deleteIntegrations).toEqual([
    'default/example',
  ]);
});

test('a slip in a generated Credential withdraws its Integrations, but does not throw its value away', () => {
  const generated = credentialYaml({ source: '{generated: {}}' });
  const input = inputOf(generated + integrationYaml());
  const settled = carriedOut(input, decide(input).plan);
  const { source } = inputOf(generated.replace('api.example.com', '"*.co.uk"') + integrationYaml());
  expect(decide({ ...settled, source }).plan).toMatchObject({
    deleteCredentials: [],
    deleteIntegrations: ['default/example'],
  });
  expect(decide({ ...settled, source: inputOf(integrationYaml()).source }).plan.deleteCredentials).toEqual([
    'default/key',
  ]);
});
