import type { V1Pod } from '@kubernetes/client-node';
import fc from 'fast-check';
import { applyPatch } from 'rfc6902';
import { expect, test } from 'vitest';
import { injectSidecar } from './injectSidecar.ts';
import { jsonPatch } from './jsonPatch.ts';
import { ruleset } from './redirectContainer.ts';
import { testSettings } from './testkit.ts';

const podWith = (changes: { annotations?: Record<string, string>; spec?: Partial<V1Pod['spec'] & object> }): V1Pod => ({
  metadata: {
    name: 'x',
    labels: { 'sidekey.dev/inject': 'true', 'tag.sidekey.dev/llm': '' },
    ...(changes.annotations && { annotations: changes.annotations }),
  },
  spec: { containers: [{ name: 'agent', image: 'a' }], ...changes.spec },
});

const injectedOf = (pod: V1Pod, settings = testSettings()): V1Pod => {
  const injection = injectSidecar(pod, settings);
  if (!('pod' in injection) || 'skip' in injection) throw new Error(JSON.stringify(injection));
  return injection.pod;
};

const refusalOf = (pod: V1Pod) => {
  const injection = injectSidecar(pod, testSettings());
  return 'refuse' in injection ? injection.refuse : undefined;
};

test('of a pod that brings volumes and containers of our names nothing is left in them', () => {
  const forged = podWith({
    spec: {
      initContainers: [{ name: 'sidekey', image: 'evil', env: [{ name: 'NODE_OPTIONS', value: '--require /evil' }] }],
      volumes: [{ name: 'sidekey-token', hostPath: { path: '/' } }],
    },
  });
  expect(injectedOf(forged)).toEqual(injectedOf(podWith({})));
});

test('no container but the sidecar gets its token or its private files', () => {
  const mounts = ['sidekey-token', 'sidekey-private', 'sidekey-public'].map((name) => ({
    name,
    mountPath: `/x/${name}`,
  }));
  const pod = injectedOf(podWith({ spec: { containers: [{ name: 'agent', image: 'a', volumeMounts: mounts }] } }));
  expect(pod.spec!.containers[0]!.volumeMounts).toEqual([
    { name: 'sidekey-public', mountPath: '/var/run/sidekey/public', readOnly: true },
  ]);
});

test.for(['0', '65536', 'http', '443;80', '15080', '15021', '15163', '-1', ' ,'])(
  'capture-ports %s is refused',
  (ports) => {
    const annotations = { 'sidekey.dev/capture': 'transparent', 'sidekey.dev/capture-ports': ports };
    expect(refusalOf(podWith({ annotations }))).toBe('CapturePortsInvalid');
  },
);

test('no more ports are captured than the sidecar listens for', () => {
  const ports = (count: number) => Array.from({ length: count }, (_, i) => 20_000 + i).join(',');
  const podOf = (count: number) =>
    podWith({ annotations: { 'sidekey.dev/capture': 'transparent', 'sidekey.dev/capture-ports': ports(count) } });
  expect(refusalOf(podOf(62))).toBeUndefined();
  expect(refusalOf(podOf(63))).toBe('CapturePortsInvalid');
});

test('a capture mode that does not exist is refused, not taken for another', () => {
  expect(refusalOf(podWith({ annotations: { 'sidekey.dev/capture': 'Transparent' } }))).toBe('CaptureInvalid');
});

test('a pod on the network of its node is refused rather than run bare', () => {
  expect(refusalOf(podWith({ spec: { hostNetwork: true } }))).toBe('HostNetworkRefused');
});

test('the last of several variables of a name is the one that counts', () => {
  const env = [
    { name: 'HTTPS_PROXY', value: 'http://one.test' },
    { name: 'HTTPS_PROXY', value: 'http://127.0.0.1:15080' },
  ];
  const pod = injectedOf(podWith({ spec: { containers: [{ name: 'agent', image: 'a', env }] } }));
  expect(pod.spec!.containers[0]!.env!.filter(({ name }) => name === 'HTTPS_PROXY')).toEqual([env[1]]);
});

test('variables that say what ours do are taken for ours, in whatever mode the pod comes by again', () => {
  const env = [
    { name: 'NODE_USE_ENV_PROXY', value: '1' },
    { name: 'NO_PROXY', value: '' },
    { name: 'JAVA_TOOL_OPTIONS', value: '' },
    { name: 'HTTP_PROXY', value: 'http://127.0.0.1:15080' },
    { name: 'no_proxy', value: 'localhost,a.test' },
  ];
  for (const capture of ['proxy', 'baseURL', 'transparent']) {
    const pod = podWith({
      annotations: { 'sidekey.dev/capture': capture },
      spec: { containers: [{ name: 'agent', image: 'a', env }] },
    });
    const once = injectedOf(pod);
    expect(injectedOf(once), capture).toEqual(once);
  }
});

const PROXY = 'http://127.0.0.1:15080';
const BUNDLE = '/var/run/sidekey/public/ca-bundle.pem';
const variable = fc.record({
  name: fc.constantFrom(
    ...['HTTP_PROXY', 'https_proxy', 'NO_PROXY', 'no_proxy', 'JAVA_TOOL_OPTIONS', 'NODE_USE_ENV_PROXY'],
    ...['SSL_CERT_FILE', 'SIDEKEY_URL', 'SIDEKEY_OPENAI_URL', 'OWN'],
  ),
  value: fc.constantFrom(
    ...['', '1', PROXY, `${PROXY}/openai`, BUNDLE, 'http://own.test', '*', 'localhost', 'a.test, localhost,127.0.0.1'],
    ...[
      '-Xmx1g',
      '${integrations.openai.url}',
      '.svc,api.openai.com',
      `localhost,127.0.0.1,::1,$(KUBERNETES_SERVICE_HOST)`,
    ],
  ),
});

test('whatever variables a pod has, injecting it twice is as good as once', () => {
  fc.assert(
    fc.property(
      fc.array(variable, { maxLength: 6 }),
      fc.constantFrom('proxy', 'baseURL', 'transparent'),
      fc.constantFrom('proxy', 'baseURL', 'transparent'),
      (env, first, then) => {
        const pod = podWith({
          annotations: { 'sidekey.dev/capture': first },
          spec: { containers: [{ name: 'agent', image: 'a', env }] },
        });
        const once = injectedOf(pod);
        expect(injectedOf(once)).toEqual(once);
        // A clone with another mode: what the first one added does not stay behind.
        const clone = { ...once, metadata: { ...once.metadata, annotations: { 'sidekey.dev/capture': then } } };
        const twice = injectedOf(clone);
        expect(injectedOf(twice)).toEqual(twice);
        if (then === 'baseURL')
          expect(twice.spec!.containers[0]!.env).not.toContainEqual({ name: 'HTTP_PROXY', value: PROXY });
      },
    ),
    { numRuns: 1_000 },
  );
});

test('the extra CA of the chart is given to the sidecar', () => {
  const pod = injectedOf(podWith({}), testSettings({ extraCaPem: 'PEM' }));
  expect(pod.spec!.initContainers![0]!.env).toContainEqual({ name: 'SIDEKEY_EXTRA_CA', value: 'PEM' });
});

test('a pod of far more than 4,000 lines is injected and compared in bounded time', () => {
  const env = Array.from({ length: 2_000 }, (_, i) => ({ name: `V${i}`, value: '${credentials.openai_key}' }));
  const volumeMounts = Array.from({ length: 600 }, (_, i) => ({ name: 'data', mountPath: `/data/${i}` }));
  const containers = Array.from({ length: 10 }, (_, i) => ({ name: `c${i}`, image: 'a', env, volumeMounts }));
  const pod = podWith({ spec: { containers } });
  const startedMs = performance.now();
  const after = injectedOf(pod);
  const patch = jsonPatch(pod, after);
  const tookMs = performance.now() - startedMs;
  const patched = JSON.parse(JSON.stringify(pod));
  applyPatch(patched, patch);
  expect(patched).toEqual(after);
  expect(tookMs).toBeLessThan(1_000);
});

test.for([
  ['10.96.0.1', 'ip daddr 10.96.0.1 return'],
  ['fd00::1', 'ip6 daddr fd00::1 return'],
])('a captured pod reaches the API server at %s itself, as no name in TLS tells of it', ([address, rule]) => {
  expect(ruleset([443], address)).toContain(`    ${rule}\n    tcp dport 443 redirect to :15100\n`);
  expect(ruleset([443])).not.toContain('daddr');
});
