import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { Credential } from '../../api/credential.ts';
import { Integration } from '../../api/integration.ts';
import { type KubeClient, KubeError } from '../../lib/kube/client.ts';
import type { ControlPlane } from '../cluster/controlPlane.ts';
import { pathOf, START_LIMIT_MS, startWithCrds } from './withCrds.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const REFUSED = join(import.meta.dirname, 'refused');
const ACCEPTED = join(import.meta.dirname, 'accepted');
const SCHEMAS = { Credential, Integration } as const;

interface Written {
  apiVersion: string;
  kind: keyof typeof SCHEMAS;
  metadata: { name: string; namespace?: string };
  spec: Record<string, unknown>;
}

let plane: ControlPlane;
let client: KubeClient;
beforeAll(async () => {
  plane = await startWithCrds('refused', 'fields');
  client = plane.client();
}, START_LIMIT_MS);
afterAll(() => plane?.stop());

test.for(readdirSync(REFUSED))(
  'refused/%s is refused by the API server and by files, each in its words',
  async (name) => {
    const text = readFileSync(join(REFUSED, name), 'utf8');
    const said = (by: string) => new RegExp(`^# ${by}: (.*)$`, 'm').exec(text)?.[1];
    const object: Written = parse(text);
    expect({
      server: await refusalOfServer(object),
      files: refusalsOfFiles(object),
    }).toEqual({
      server: said('refused') ?? said('by the API server'),
      files: [said('refused') ?? said('by files')],
    });
  },
);

const accepted = [
  ...readdirSync(ACCEPTED).map((file) => relative(ROOT, join(ACCEPTED, file))),
  ...readdirSync(join(ROOT, 'examples'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => join('examples', file)),
];

test.for(accepted)('%s is applied, and our objects in it are stored as files are read', async (file) => {
  const text = readFileSync(join(ROOT, file), 'utf8');
  const objects = parseAllDocuments(text)
    .map((document) => document.toJS() as Written | null)
    .filter((object) => object !== null);
  for (const namespace of new Set(objects.map(({ metadata }) => metadata.namespace ?? 'default')))
    await ensure(namespace);
  const { code, stderr } = await plane.kubectl(['apply', '-f', '-'], { input: text });
  expect(code, stderr).toBe(0);
  for (const object of objects.filter(({ kind }) => kind in SCHEMAS)) {
    const { metadata, kind } = object;
    const stored = await client.get<Written>(pathOf(kind, metadata.namespace ?? 'default', metadata.name));
    // The defaults that both put in are the same.
    expect(SCHEMAS[kind].parse(stored).spec).toEqual(SCHEMAS[kind].parse(object).spec);
    expect(stored.spec).toEqual(SCHEMAS[kind].parse(object).spec);
  }
});

/** A namespace with the ServiceAccount that its controller would make. */
async function ensure(namespace: string): Promise<void> {
  const owner = { apiVersion: 'v1', metadata: { name: namespace } };
  await client.apply(`/api/v1/namespaces/${namespace}`, { ...owner, kind: 'Namespace' }, 'test');
  const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } };
  await client.apply(`/api/v1/namespaces/${namespace}/serviceaccounts/default`, account, 'test');
}

test('an unknown field is refused where the client asks for that, as kubectl does, and dropped where it does not', async () => {
  const object = { ...credential('unknown-field'), spec: { ...credential('x').spec, leaseDurations: '5m' } };
  await expect(
    serverSays(() => client.create(pathOf('Credential', 'fields'), object, { fieldValidation: 'Strict' })),
  ).resolves.toContain('unknown field "spec.leaseDurations"');
  expect(Credential.safeParse(object).error?.issues[0]).toMatchObject({ code: 'unrecognized_keys' });
  const stored = await client.create<Written>(pathOf('Credential', 'fields'), object);
  expect(stored.spec).not.toHaveProperty('leaseDurations');
  const { code, stderr } = await plane.kubectl(['apply', '-n', 'fields', '-f', '-'], { input: JSON.stringify(object) });
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('unknown field "spec.leaseDurations"') });
});

test('a Credential can neither become nor cease to be per user', async () => {
  const path = pathOf('Credential', 'fields');
  await client.create(path, credential('stays-store'));
  await client.create(path, credential('stays-per-user', { source: { perUser: {} } }));
  const becomes = { spec: { source: { store: null, perUser: {} } } };
  const ceases = { spec: { source: { store: {}, perUser: null } } };
  for (const [name, patch] of [
    ['stays-store', becomes],
    ['stays-per-user', ceases],
  ] as const)
    expect(await serverSays(() => client.patch(`${path}/${name}`, patch, 'merge'))).toContain(
      'perUser is immutable: delete the Credential and create it anew',
    );
});

test('the status is a subresource: who writes the spec cannot write it, and it has a schema', async () => {
  const path = pathOf('Credential', 'fields');
  const condition = {
    type: 'Ready',
    status: 'True',
    reason: 'Ready',
    message: 'Everything this object needs is in force.',
    observedGeneration: 1,
    lastTransitionTime: '2026-11-25T12:00:00Z',
  };
  const status = {
    observedGeneration: 1,
    conditions: [condition],
    source: 'store',
    version: 3,
    expirationTime: '2026-12-25T12:00:00Z',
    placeholder: 'sk-sidekeyPlaceholder',
  };
  const created = await client.create<{ status?: object }>(path, { ...credential('with-status'), status });
  expect(created.status).toBeUndefined();
  const object = { ...credential('with-status'), spec: undefined, status };
  expect(await client.apply(`${path}/with-status/status`, object, 'sidekey-operator')).toMatchObject({ status });
  // Conditions are a map by type: another manager's one stands beside it.
  const other = { ...object, status: { conditions: [{ ...condition, type: 'Stored' }] } };
  const both = await client.apply<{ status: { conditions: object[] } }>(`${path}/with-status/status`, other, 'other');
  expect(both.status.conditions).toHaveLength(2);
  const wrong = {
    ...object,
    status: { ...status, version: 'three', conditions: [{ ...condition, reason: 'no reason' }] },
  };
  expect(await serverSays(() => client.apply(`${path}/with-status/status`, wrong, 'sidekey-operator'))).toMatch(
    /version/,
  );
  const { stdout } = await plane.kubectl(['get', 'cred', 'with-status', '-n', 'fields', '-o', 'wide']);
  expect(stdout).toMatch(/NAME +SOURCE +READY +REASON +VERSION +EXPIRES +AGE +HOSTS +PLACEHOLDER/);
  expect(stdout).toMatch(/with-status +store +True +Ready +3 .*\["api.example.com"\] +sk-sidekeyPlaceholder/);
});

test('short names and the category find both kinds', async () => {
  await client.create(pathOf('Integration', 'fields'), integration('findable'));
  const { stdout } = await plane.kubectl(['get', 'sidekey', '-n', 'fields', '-o', 'name']);
  expect(stdout).toContain('integration.sidekey.dev/findable');
  expect(stdout).toContain('credential.sidekey.dev/');
  const { stdout: short } = await plane.kubectl(['get', 'integ', '-n', 'fields']);
  expect(short).toMatch(/NAME +HOSTS +CREDENTIAL +READY +REASON +AGE\s+findable +\["api.example.com"\] +key/);
});

interface OpenApi {
  description?: string;
  properties?: Record<string, OpenApi>;
  items?: OpenApi;
  allOf?: { $ref: string }[];
}

test('kubectl explain has a text for every field', async () => {
  const { components } = await client.get<{ components: { schemas: Record<string, OpenApi> } }>(
    '/openapi/v3/apis/sidekey.dev/v1alpha1',
  );
  for (const kind of ['Credential', 'Integration']) {
    const root = components.schemas[`dev.sidekey.v1alpha1.${kind}`]!;
    const paths = fieldsOf(root);
    expect(paths.length).toBeGreaterThan(40);
    expect(paths.filter(({ description }) => !description).map(({ path }) => path)).toEqual([]);
  }
  for (const path of [
    'cred.spec.source.vault.auth.kubernetes.role',
    'integ.spec.rules.paths.value',
    'integ.status.conditions.reason',
  ]) {
    const { code, stdout } = await plane.kubectl(['explain', path]);
    expect({ code, text: /DESCRIPTION:\n +\S+/.test(stdout) && !stdout.includes('<empty>') }).toEqual({
      code: 0,
      text: true,
    });
  }
});

function fieldsOf(schema: OpenApi, path = ''): { path: string; description: string | undefined }[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => [
    { path: `${path}.${name}`, description: field.description },
    ...fieldsOf(field.items ?? field, `${path}.${name}`),
  ]);
}

function credential(name: string, spec: Record<string, unknown> = {}): Written {
  return {
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Credential',
    metadata: { name },
    spec: { source: { store: {} }, hosts: ['api.example.com'], ...spec },
  };
}

function integration(name: string): Written {
  return {
    apiVersion: 'sidekey.dev/v1alpha1',
    kind: 'Integration',
    metadata: { name },
    spec: {
      credentialRef: { name: 'key' },
      hosts: ['api.example.com'],
      inject: [{ bearer: {} }],
      subjects: { tags: ['a'] },
    },
  };
}

/** `field: message` of the one thing that is wrong, without what the API server says of the kind of the value. */
async function refusalOfServer(object: Written): Promise<string> {
  const path = pathOf(object.kind, 'refused');
  const message = await serverSays(() => client.create(path, object, { dryRun: 'All', fieldValidation: 'Strict' }));
  const [head, ...rest] = message.split(' is invalid: ');
  expect(head).toBe(`${object.kind}.sidekey.dev "${object.metadata.name}"`);
  return rest
    .join(' is invalid: ')
    .replace(/^\[(.*), <nil>: Invalid value: "?null"?: some validation rules were not checked .*\]$/, '$1')
    .replace(/^<nil>: (Invalid value: "object": )/, '$1')
    .replace(/^(.*?)(: )?Invalid value: "(object|array|string|integer)": /, '$1$2');
}

function refusalsOfFiles(object: Written): string[] {
  const { error } = SCHEMAS[object.kind].safeParse(object);
  return (error?.issues ?? []).map(({ message, path }) => `${pathText(path)}: ${message}`);
}

function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .slice(1);
}

async function serverSays(attempt: () => Promise<unknown>): Promise<string> {
  try {
    await attempt();
  } catch (error) {
    if (error instanceof KubeError) return error.serverMessage;
    throw error;
  }
  return 'accepted';
}
