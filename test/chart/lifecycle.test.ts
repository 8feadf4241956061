import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { V1ConfigMap, V1Lease, V1MutatingWebhookConfiguration, V1Secret } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SecretDirKek } from '../../store/vault/secretDirKek.ts';
import { Installation } from './installed.ts';
import { CHART, RELEASE_NAMESPACE } from './render.ts';

const START_LIMIT_MS = 20 * 60_000;
const CONFIGURATION = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/sidekey';
const WEBHOOKS = ['pods.sidekey.dev', 'workloads.sidekey.dev'];
const KEK = `/api/v1/namespaces/${RELEASE_NAMESPACE}/secrets/sidekey-kek`;
const TLS = `/api/v1/namespaces/${RELEASE_NAMESPACE}/secrets/sidekey-webhook-tls`;
const TRUST = `/api/v1/namespaces/${RELEASE_NAMESPACE}/configmaps/sidekey-trust`;
const LEASE = `/apis/coordination.k8s.io/v1/namespaces/${RELEASE_NAMESPACE}/leases/sidekey-operator`;
const CA_BUNDLE = Buffer.from('-----BEGIN CERTIFICATE-----\n').toString('base64');

/** One release from its first installation to the next after its removal; each step goes on where the last has ended. */
describe('a release', () => {
  let installation: Installation;
  let kek: Record<string, string>;
  const admin = () => installation.plane.client();
  const caBundles = async () => {
    const { webhooks = [] } = await admin().get<V1MutatingWebhookConfiguration>(CONFIGURATION);
    return webhooks.map(({ clientConfig }) => clientConfig.caBundle);
  };
  const written = async () => ({
    caBundles: await caBundles(),
    trust: (await admin().get<V1ConfigMap>(TRUST)).data,
    tls: (await admin().get<V1Secret>(TLS)).data,
    kek: (await admin().get<V1Secret>(KEK)).data,
    leader: (await admin().get<V1Lease>(LEASE)).spec?.holderIdentity,
  });
  const asWritten = () => ({
    caBundles: [CA_BUNDLE, CA_BUNDLE],
    trust: { 'ca.pem': 'pem' },
    tls: { 'tls.crt': 'AAAA' },
    kek,
    leader: 'one',
  });
  /** What store and operator write, as they do it, with the rights that the chart gives them. */
  const write = async () => {
    await installation.as('store').apply(
      TRUST,
      {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'sidekey-trust', namespace: RELEASE_NAMESPACE },
        data: { 'ca.pem': 'pem' },
      },
      'sidekey-store',
    );
    const operator = installation.as('operator');
    const webhooks = WEBHOOKS.map((name) => ({ name, clientConfig: { caBundle: CA_BUNDLE } }));
    await operator.patch(CONFIGURATION, { webhooks }, 'strategic');
    await operator.apply(
      TLS,
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'sidekey-webhook-tls', namespace: RELEASE_NAMESPACE },
        type: 'Opaque',
        data: { 'tls.crt': 'AAAA' },
      },
      'sidekey-webhook-tls',
    );
    const lease = await operator.get<V1Lease>(LEASE);
    await operator.replace(LEASE, {
      ...lease,
      spec: { ...lease.spec, holderIdentity: 'one', leaseDurationSeconds: 15 },
    });
  };

  beforeAll(async () => {
    installation = await Installation.prepare();
  }, START_LIMIT_MS);
  afterAll(() => installation?.plane.stop());

  test('installs with no value set where nothing but restricted pods is let in, without a warning', async () => {
    const { stdout } = await installation.helm('install', 'sidekey', CHART);
    expect(stdout).toContain('STATUS: deployed');
  });

  test('has a key that the store takes', async () => {
    kek = (await admin().get<V1Secret>(KEK)).data!;
    expect(Object.keys(kek)).toEqual(['kek-1']);
    const dir = mkdtempSync(join(tmpdir(), 'sidekey-kek-'));
    try {
      writeFileSync(join(dir, 'kek-1'), Buffer.from(kek['kek-1']!, 'base64'), { mode: 0o440 });
      const provider = new SecretDirKek(dir);
      await provider.health();
      expect(provider.keys).toHaveLength(1);
      provider.close();
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test('lets store and operator write what is theirs', async () => {
    await write();
    expect(await written()).toEqual(asWritten());
  });

  test('an upgrade changes what the values say, and leaves alone what store and operator have written', async () => {
    await installation.helm('upgrade', 'sidekey', CHART, '--set', 'webhook.timeoutSeconds=7');
    const { webhooks = [] } = await admin().get<V1MutatingWebhookConfiguration>(CONFIGURATION);
    expect(webhooks.map(({ timeoutSeconds }) => timeoutSeconds)).toEqual([7, 7]);
    expect(await written()).toEqual(asWritten());
  });

  test('keys that are rotated by hand survive upgrade and rollback', async () => {
    kek = { ...kek, 'kek-2': Buffer.from(`${Buffer.alloc(32, 2).toString('base64')}\n`).toString('base64') };
    await admin().patch(KEK, { data: { 'kek-2': kek['kek-2'] } }, 'merge');
    await installation.helm('upgrade', 'sidekey', CHART);
    expect(await written()).toEqual(asWritten());
    await installation.helm('rollback', 'sidekey', '1');
    expect(await written()).toEqual(asWritten());
    delete kek['kek-1'];
    await admin().patch(KEK, { data: { 'kek-1': null } }, 'merge');
    await installation.helm('upgrade', 'sidekey', CHART);
    expect(await written()).toEqual(asWritten());
  });

  test('its removal leaves the key and the CRDs, and nothing else', async () => {
    // Its hook is a Job, and there is no node here to run it: the tests on a whole cluster do.
    await installation.helm('uninstall', 'sidekey', '--no-hooks');
    expect(await objectsOf(installation)).toEqual([
      'CustomResourceDefinition credentials.sidekey.dev',
      'CustomResourceDefinition integrations.sidekey.dev',
      'Secret sidekey-kek',
    ]);
  });

  test('installed anew it takes the key that it finds', async () => {
    await installation.helm('install', 'sidekey', CHART);
    expect((await admin().get<V1Secret>(KEK)).data).toEqual(kek);
  });

  test('the same holds for upgrades in the way of helm 3, without server-side apply', async () => {
    await write();
    await installation.helm('upgrade', 'sidekey', CHART, '--server-side=false', '--set', 'webhook.timeoutSeconds=7');
    await installation.helm('rollback', 'sidekey', '1', '--server-side=false');
    expect(await written()).toEqual(asWritten());
  });

  test('a Secret of that name that somebody else has made is used as it is', async () => {
    await installation.helm('uninstall', 'sidekey', '--no-hooks');
    await admin().delete(KEK);
    const own = { metadata: { name: 'sidekey-kek' }, data: { own: kek['kek-2'] } };
    await admin().create(`/api/v1/namespaces/${RELEASE_NAMESPACE}/secrets`, own);
    await installation.helm('install', 'sidekey', CHART);
    const { data, metadata } = await admin().get<V1Secret>(KEK);
    expect(data).toEqual(own.data);
    expect(metadata?.labels).toBeUndefined();
  });
});

/** What there is of every kind that is named after us, but the records of helm, what the API server makes of CRDs, and Events, which end by themselves. */
async function objectsOf({ plane }: Installation): Promise<string[]> {
  const { stdout } = await plane.kubectl(['api-resources', '--verbs=list', '-o=name']);
  const kinds = stdout
    .trim()
    .split('\n')
    .filter((kind) => !/^(apiservices\.apiregistration|events\b)/.test(kind));
  const { code, stderr, stdout: list } = await plane.kubectl(['get', kinds.join(','), '--all-namespaces', '-o=json']);
  if (code !== 0) throw new Error(stderr);
  const { items } = JSON.parse(list) as { items: { kind: string; metadata: { name: string } }[] };
  return items
    .filter(({ metadata: { name } }) => /sidekey/.test(name) && !/^sh\.helm\.release\.|^sidekey-system$/.test(name))
    .map(({ kind, metadata }) => `${kind} ${metadata.name}`)
    .sort();
}
