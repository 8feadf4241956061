import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INJECT_LABEL, SIDECAR_PATHS, TOKEN_AUDIENCE } from '../../api/pods.ts';
import { NODE_ARGS } from '../../lib/nodeArgs.ts';
import { readConfig as readOperatorConfig } from '../../operator/config.ts';
import { StoreBootstrap } from '../../store/config.ts';
import { readConfig as readWebhookConfig } from '../../webhook/config.ts';
import { find, notes, objectsIn, type Rendered, render, valuesFiles } from './render.ts';

const PARTS = ['store', 'operator', 'webhook'] as const;

const dir = mkdtempSync(join(tmpdir(), 'sidekey-chart-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.each(valuesFiles())('with the values $name', ({ file, name }) => {
  const fullname = name === 'everything' ? 'keys' : 'sidekey';
  let objects: Rendered[];
  beforeAll(async () => {
    objects = await render('--values', file);
  });
  const workload = (part: string): Rendered =>
    objects.find(
      ({ kind, metadata }) => /^(Deployment|StatefulSet)$/.test(kind) && metadata.name === `${fullname}-${part}`,
    )!;
  const configFile = (part: string): string => {
    const path = join(dir, `${name}-${part}.json`);
    writeFileSync(path, find(objects, 'ConfigMap', `${fullname}-${part}`).data['config.json']);
    return path;
  };

  test('each part takes the configuration that is rendered for it', () => {
    const store = StoreBootstrap.parse(JSON.parse(readFileSync(configFile('store'), 'utf8')));
    expect(store.databaseUrlFile !== undefined).toBe(name === 'postgresql');
    expect(store.kubernetes?.trustConfigMap?.name).toBe(
      readOperatorConfig(configFile('operator')).kubernetes.trustConfigMap,
    );
    expect(readOperatorConfig(configFile('operator')).kubernetes).toMatchObject({
      serviceAccount: `${fullname}-operator`,
    });
    expect(readWebhookConfig(configFile('webhook')).kubernetes.tlsSecret).toBe(`${fullname}-webhook-tls`);
  });

  test.each(PARTS)('%s is started with the options of Node that it is started with elsewhere', (part) => {
    const [container] = workload(part).spec.template.spec.containers;
    const options = NODE_ARGS[part];
    expect(container.command).toEqual(['/usr/local/bin/node', ...options, `/sidekey/${part}.mjs`]);
    expect(container.args).toEqual(['--config', '/etc/sidekey/config.json']);
  });

  test.each(PARTS)('an update never leaves %s without a pod that serves, where there may be several', (part) => {
    const { kind, spec } = workload(part);
    if (kind === 'StatefulSet') return expect(spec.replicas).toBe(1);
    expect(spec.strategy.rollingUpdate).toEqual({ maxUnavailable: 0, maxSurge: 1 });
    expect(find(objects, 'PodDisruptionBudget', `${fullname}-${part}`).spec.selector).toEqual(spec.selector);
  });

  test('every object of a namespace names it, and everything can be told to be ours', () => {
    for (const { kind, metadata } of objects) {
      if (metadata.annotations?.['helm.sh/hook'] !== undefined) continue;
      expect(metadata.labels, `${kind} ${metadata.name}`).toMatchObject({ 'app.kubernetes.io/name': 'sidekey' });
    }
  });

  test('the webhook is asked for labelled pods of other namespaces alone, and the chart leaves its CA to others', () => {
    const { webhooks } = find(objects, 'MutatingWebhookConfiguration', fullname);
    for (const { clientConfig, failurePolicy, namespaceSelector } of webhooks) {
      expect(clientConfig).not.toHaveProperty('caBundle');
      expect(failurePolicy).toBe('Fail');
      expect(namespaceSelector.matchExpressions[0].values).toEqual(
        expect.arrayContaining(['kube-system', 'sidekey-system']),
      );
    }
    expect(webhooks[0].objectSelector).toEqual({ matchLabels: { [INJECT_LABEL]: 'true' } });
  });

  test('the Service of the webhook has one port: whoever asks where its replicas listen takes the first', () => {
    expect(find(objects, 'Service', `${fullname}-webhook`).spec.ports).toEqual([
      { name: 'https', port: 443, targetPort: 'https' },
    ]);
  });

  test('the operator has a token for the store, and no other part does', () => {
    const audiences = (part: string) =>
      JSON.stringify(workload(part).spec.template.spec.volumes).match(/"audience":"[^"]*"/g) ?? [];
    expect(audiences('operator')).toEqual([`"audience":"${TOKEN_AUDIENCE}"`]);
    expect(audiences('store')).toEqual([]);
    expect(audiences('webhook')).toEqual([]);
    const { volumeMounts } = workload('operator').spec.template.spec.containers[0];
    expect(volumeMounts).toContainEqual({
      name: 'sidekey-token',
      mountPath: SIDECAR_PATHS.tokenDir,
      readOnly: true,
    });
  });

  test('what must be kept is not in what is rendered without a cluster: each rendering would be another key', () => {
    expect(objects.filter(({ kind, metadata }) => kind === 'Secret' && /kek/.test(metadata.name))).toEqual([]);
  });
});

test('what the notes give to paste is what helm test runs, in that order', async () => {
  const weight = ({ metadata }: Rendered) => Number(metadata.annotations!['helm.sh/hook-weight']);
  const hooks = (await render())
    .filter(({ metadata }) => metadata.annotations?.['helm.sh/hook'] === 'test')
    .sort((a, b) => weight(a) - weight(b));
  const pasted = objectsIn(/<<'END'\n(.*)\nEND\n/s.exec(await notes())![1]!);
  expect(pasted).not.toEqual([]);
  for (const { metadata } of hooks) delete metadata.annotations;
  expect(JSON.parse(JSON.stringify(hooks).replaceAll('sidekey-test', 'sidekey-demo'))).toEqual(pasted);
});

test('the agent of the notes has neither the secret nor a way to it, and the upstream shows no more than its beginning', async () => {
  const pasted = objectsIn(/<<'END'\n(.*)\nEND\n/s.exec(await notes())![1]!);
  const { token } = find(pasted, 'Secret', 'echo').stringData;
  const job = find(pasted, 'Job', 'agent');
  expect(JSON.stringify(job)).not.toContain(token);
  expect(job.spec.template.spec.volumes).toBeUndefined();
  expect(job.spec.template.metadata.labels).toMatchObject({ [INJECT_LABEL]: 'true' });
  expect(JSON.stringify(find(pasted, 'Deployment', 'echo'))).toContain('authorization.slice(0, 12)');
});
